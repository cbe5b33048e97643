#include <string>

#include "gateway/pipeline.h"

namespace weir::gateway {
namespace {

void AppendModel(const config::Model& model, std::string& out) {
  out += "{\"id\":";
  dialect::AppendJsonString(out, model.id);
  out += ",\"object\":\"model\",\"created\":";
  out += std::to_string(model.created);
  out += ",\"owned_by\":";
  dialect::AppendJsonString(out, model.owned_by);
  out += '}';
}

}  // namespace

std::string ListModels(const config::Config& config, const identity::KeyRecord& key) {
  std::string out = "{\"object\":\"list\",\"data\":[";
  bool first = true;
  for (const auto& model : config.models) {
    // A wildcard is not a name anybody could ask for.
    if (model.id == "*" || !identity::AllowsModel(key, model.id)) continue;
    if (!first) out += ',';
    first = false;
    AppendModel(model, out);
  }
  out += "]}";
  return out;
}

std::expected<std::string, RefusalReason> GetModel(const config::Config& config,
                                                   const identity::KeyRecord& key,
                                                   std::string_view id) {
  for (const auto& model : config.models) {
    if (model.id != id || model.id == "*" || !identity::AllowsModel(key, model.id)) continue;
    std::string out;
    AppendModel(model, out);
    return out;
  }
  return std::unexpected(RefusalReason{.refusal = Refusal::kModelNotFound,
                                       .message = {},
                                       .param = "model",
                                       .hint = "GET /models lists the models of this API key"});
}

}  // namespace weir::gateway
