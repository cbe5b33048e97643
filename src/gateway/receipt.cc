// GET /requests/{id}: the receipt of a request, for the key that made it. Any other key, and an id
// of nothing, get the same 404: ids of others are not told from none.
#include "gateway/pipeline.h"

namespace weir::gateway {

Task<std::expected<std::string, RefusalReason>> FindReceipt(Exchange& x, Ports& ports) {
  std::string_view text = x.operation.model;
  if (text.starts_with("req_")) text.remove_prefix(4);
  const auto id = ParseId(text);
  if (!id || ports.receipts == nullptr) {
    co_return std::unexpected(RefusalReason{.refusal = Refusal::kRequestNotFound});
  }
  auto receipt =
      co_await ports.receipts->Find(RequestId{*id}, x.principal->key, x.snapshot->config);
  if (receipt) co_return *std::move(receipt);
  if (receipt.error().code != ErrorCode::kNotFound) {
    co_return std::unexpected(RefusalReason{.refusal = Refusal::kReceiptUnavailable});
  }
  co_return std::unexpected(RefusalReason{
      .refusal = Refusal::kRequestNotFound,
      .message = {},
      .param = {},
      .hint = "A request can be looked up once it has ended, by the API key that made "
              "it"});
}

}  // namespace weir::gateway
