// Idempotency-Key: the same key and body give the same reply, charged once. What is in progress,
// and what another body used, credit control says at the admission; here are the header and the
// reply that is sent again.
#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "gateway/pipeline.h"

namespace weir::gateway {
namespace {

constexpr std::size_t kKeyBytesMax = 255;  // as Stripe has it
// A longer reply is not kept: its key then answers with response_not_stored.
constexpr std::size_t kKeptBytesMax = 4 << 20;

// 128 bits of a keyed digest: nobody who does not know the pepper can make two of them meet.
Id128 Shortened(const identity::KeyDigest& digest) {
  Id128 id;
  std::memcpy(&id.high, digest.bytes.data(), sizeof id.high);
  std::memcpy(&id.low, digest.bytes.data() + sizeof id.high, sizeof id.low);
  if constexpr (std::endian::native == std::endian::big) {
    id.high = std::byteswap(id.high);
    id.low = std::byteswap(id.low);
  }
  if (id.empty()) id.low = 1;
  return id;
}

}  // namespace

std::optional<RefusalReason> ReadIdempotency(Exchange& x, std::string_view body) {
  if (x.operation.kind != OperationKind::kGenerate) return std::nullopt;
  const std::string_view key = x.head->Find("idempotency-key");
  if (key.empty()) return std::nullopt;
  const bool visible = std::ranges::all_of(key, [](char c) { return c > ' ' && c < 0x7f; });
  if (key.size() > kKeyBytesMax || !visible) {
    return RefusalReason{.refusal = Refusal::kInvalidRequest,
                         .message = "Idempotency-Key must be 1 to 255 visible ASCII characters",
                         .param = "Idempotency-Key"};
  }
  const auto id = IdText(x.principal->key->id);
  std::string text(id.data(), id.size());
  text += ' ';
  text += key;
  IdempotencyUse use;
  use.key = Shortened(x.snapshot->pepper->Digest(text));
  // The same text at another endpoint, or as another kind of form, is another request.
  text = x.head->path;
  text += ' ';
  text += x.head->query;
  text += ' ';
  text += x.head->Find("content-type");
  text += '\n';
  text += body;
  use.body = Shortened(x.snapshot->pepper->Digest(text));
  x.idempotency = use;
  return std::nullopt;
}

void KeepBytes(Exchange& x, std::string_view bytes) {
  if (!x.idempotency || x.kept.size() > kKeptBytesMax) return;
  x.kept.append(bytes.substr(0, kKeptBytesMax + 1));
}

void KeepReply(Exchange& x, Ports& ports) {
  if (!x.idempotency || ports.replies == nullptr || x.kept.size() > kKeptBytesMax) return;
  ports.replies->Keep(x.id, {.status = x.status,
                             .stream = x.streaming,
                             .content_type = x.streaming ? x.kept_type : x.held_type,
                             .body = std::move(x.kept)});
}

Task<void> SendAgain(Exchange& x, Ports& ports, Runtime& runtime) {
  const RequestId original = *x.admission.replay;
  std::optional<KeptReply> kept;
  if (ports.replies != nullptr) kept = co_await ports.replies->Find(original);
  if (!kept) {
    RefusalReason reason{.refusal = Refusal::kResponseNotStored};
    reason.hint = "What it cost: GET /v1/requests/req_" + ToString(original);
    co_return co_await Refuse(x, std::move(reason), ports, runtime);
  }
  ReplyHead head;
  head.status = x.status = kept->status;
  head.content_type = kept->content_type;
  head.headers = CommonHeaders(x, runtime.WallNow());
  head.headers +=
      "idempotent-replayed: true\r\nx-original-request-id: req_" + ToString(original) + "\r\n";
  x.timings.first_byte = runtime.Now() - x.timings.started_at;
  bool sent = false;
  if (kept->stream) {
    head.headers += "cache-control: no-cache\r\nx-accel-buffering: no\r\n";
    ports.downstream.Start(std::move(head));
    sent = co_await ports.downstream.End(kept->body);
  } else {
    sent = co_await ports.downstream.Reply(std::move(head), kept->body);
  }
  x.ending = sent ? EndingKind::kServed : EndingKind::kCallerGone;
}

}  // namespace weir::gateway
