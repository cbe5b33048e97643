// The ledger resource: how much a key may still spend, and the journal for whoever checks it.

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "store/key_store.h"

namespace weir::admin {

namespace {

// Of one answer. Reading so much takes the journal thread less than a millisecond, by which one
// commit may be later.
constexpr std::size_t kSliceBytes = 256 << 10;

std::string Hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

std::string Base64(std::span<const std::uint8_t> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // the library ends it with a zero
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                  static_cast<int>(bytes.size()));
  text.pop_back();
  return text;
}

std::int64_t Signed(std::uint64_t position) { return static_cast<std::int64_t>(position); }

}  // namespace

AdminResponse GetKeyLedger(const Call& call) {
  const auto id = ParseKeyId(call.id);
  const identity::KeyRecordPtr key = id ? call.ports.keys.table()->FindById(*id) : nullptr;
  if (key == nullptr) return Problem(ProblemType::kNotFound, "There is no key with this id.");
  if (!call.ports.standing) {
    return Problem(ProblemType::kUnavailable, "The ledger is not open in this process.");
  }
  // A key that never made a request is unknown to the credit machine: it has spent nothing.
  const gateway::KeyStanding standing =
      call.ports.standing(key->id).value_or(gateway::KeyStanding{});
  // The budget that counts for the next request is the one stored with the key, which an operator
  // may have changed since the last.
  const std::optional<NanoUsd> budget = key->limits.budget;
  std::optional<NanoUsd> remaining;
  if (budget) {
    const PicoUsd left = PicoUsd{budget->n} - standing.settled.n - standing.held.n;
    remaining = NanoUsd{static_cast<std::int64_t>(std::max(left, PicoUsd{0}))};
  }
  JsonWriter json;
  json.Open('{')
      .Text("key_id", KeyIdText(key->id))
      .Usd("budget_usd", budget)
      .Usd("spent_usd", standing.settled)
      .Usd("held_usd", standing.held)
      .Usd("remaining_usd", remaining)
      .Number("requests_open", standing.requests_open)
      .Close('}');
  return JsonResponse(json.Take());
}

// The end of the journal. The start read all of it up to here and checked the chain; what came
// since this process chained itself.
AdminResponse GetLedgerAnchor(const Call& call) {
  if (!call.ports.journal) {
    return Problem(ProblemType::kUnavailable, "The ledger is not open in this process.");
  }
  const auto slice = call.ports.journal(INT64_MAX, 0);
  if (!slice) return Problem(slice.error());
  JsonWriter json;
  json.Open('{')
      .Number("position", Signed(slice->tail.position))
      .Text("chain", Hex(slice->tail.chain))
      .Time("time", call.now)
      .Close('}');
  return JsonResponse(json.Take());
}

AdminResponse GetLedgerJournal(const Call& call) {
  static constexpr std::array<std::string_view, 1> kKnown = {"after"};
  QueryReader query(call.request.query, kKnown);
  const std::int64_t after = query.Count("after", 0, INT64_MAX).value_or(0);
  if (!query.errors().empty()) {
    return Problem(ProblemType::kInvalidRequest, "The query is wrong; see errors.", query.errors());
  }
  if (!call.ports.journal) {
    return Problem(ProblemType::kUnavailable, "The ledger is not open in this process.");
  }
  const auto slice = call.ports.journal(static_cast<std::uint64_t>(after), kSliceBytes);
  if (!slice) return Problem(slice.error());
  JsonWriter json;
  json.Open('{')
      .Number("position", Signed(slice->tail.position))
      .Text("chain", Hex(slice->tail.chain))
      .Open("batches", '[');
  for (const auto& batch : slice->batches) {
    const std::string records = Base64(batch.records);
    json.Open('{')
        .Number("first_position", Signed(batch.first_position))
        .Number("count", batch.count)
        .Json("records", '"' + records + '"')  // JsonWriter::Text would cut it
        .Text("chain", Hex(batch.chain))
        .Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
