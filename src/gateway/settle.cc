#include "gateway/pipeline.h"

namespace weir::gateway {

SettleCommand MakeSettle(const Exchange& x) {
  SettleCommand command{.request = x.id, .usage = x.usage, .charge = x.charge};
  if (x.operation.kind == OperationKind::kCountTokens) {
    command.usage = {};
    command.charge = false;
  }
  return command;
}

}  // namespace weir::gateway
