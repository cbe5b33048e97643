// The requests resource: what happened, newest first, and the whole story of one exchange.

#include <fmt/format.h>

#include <array>
#include <utility>

#include "admin/body_reader.h"
#include "admin/handlers.h"
#include "admin/json_writer.h"
#include "admin/price_text.h"
#include "admin/wallet_json.h"
#include "config/price_codec.h"
#include "policy/quote.h"
#include "policy/wallet_rate.h"
#include "server/receipt.h"
#include "store/key_store.h"
#include "store/request_log.h"

namespace weir::admin {

namespace {

using ledger::Unit;
using telemetry::ExchangeRecord;

Unit UnitOf(const telemetry::WalletKept& wallet) {
  return wallet.unit == "quota_token" ? Unit::kQuotaToken : Unit::kNanoUsd;
}

void WriteWalletOf(const ExchangeRecord& record, JsonWriter& json) {
  if (!record.wallet) {
    json.Null("wallet");
    return;
  }
  const telemetry::WalletKept& wallet = *record.wallet;
  const Unit unit = UnitOf(wallet);
  json.Open("wallet", '{')
      .Text("unit", UnitText(unit))
      .Text("multiplier", policy::MultiplierText(wallet.multiplier_ppm));
  for (const auto& [name, amount] :
       {std::pair("held", wallet.held), std::pair("charged", wallet.charged),
        std::pair("overrun", wallet.overrun), std::pair("left", wallet.left)}) {
    WriteAmount(name, {amount}, unit, json);
  }
  json.Close('}');
}

// What quota policies said of it.
void WritePolicies(const ExchangeRecord& record, JsonWriter& json) {
  std::vector<std::string> shadow;
  std::string_view rest = record.policies_shadow;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(", "), rest.size());
    shadow.emplace_back(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 2, rest.size()));
  }
  json.Open("policies", '{')
      .TextOrNull("refused_by", record.policy_refused)
      .TextOrNull("degraded_by", record.policy_degraded)
      .Texts("shadow", shadow)
      .Close('}');
}

void WriteRecord(const ExchangeRecord& record, JsonWriter& json) {
  json.Text("id", RequestIdText(record.request))
      .TextOrNull("key_id", record.key.empty() ? "" : KeyIdText(record.key))
      .Time("started_at", record.started_at)
      .TextOrNull("operation", record.operation)
      .TextOrNull("model", record.model)
      .TextOrNull("model_served", record.model_served)
      .TextOrNull("upstream", record.upstream)
      .Number("attempts", record.attempts)
      .Number("status", record.status)
      .Text("ending", Name(record.ending))
      .TextOrNull("refusal", record.refusal == Refusal::kNone ? "" : TextOf(record.refusal).name)
      .Flag("stream", record.stream)
      .Flag("sandbox", record.sandbox)
      .TextOrNull("action", record.action)
      .Open("attributes", '{');
  record.attributes.ForEach([&](config::Dimension dimension, std::string_view value) {
    json.Text(Name(dimension), value);
  });
  json.Close('}');
  WritePolicies(record, json);
  json.Open("usage", '{')
      .Number("input_tokens", record.usage.input_tokens)
      .Number("cached_input_tokens", record.usage.cached_input_tokens)
      .Number("cache_write_tokens", record.usage.cache_write_tokens)
      .Number("output_tokens", record.usage.output_tokens)
      .Number("reasoning_tokens", record.usage.reasoning_tokens)
      .Number("audio_ms", record.usage.audio_ms)
      .Text("source", Name(record.usage.source))
      .Close('}')
      .Usd("held_usd", record.held)
      .Usd("charged_usd", record.charged)
      .Usd("overrun_usd", record.overrun);
  WriteWalletOf(record, json);
  json.Open("time", '{')
      .Number("total_us", record.total.ns / 1000)
      .Number("upstream_us", record.upstream_time.ns / 1000)
      .Number("first_byte_us", record.first_byte.ns / 1000)
      .Number("durable_us", record.durable_time.ns / 1000)
      .Close('}');
}

std::string EndingSentence(const ExchangeRecord& record) {
  switch (record.ending) {
    case EndingKind::kServed:
      return fmt::format("Served: the whole reply left with status {}.", record.status);
    case EndingKind::kRefused:
      return fmt::format("Refused by the gateway with status {}: {}.", record.status,
                         TextOf(record.refusal).message);
    case EndingKind::kUpstreamFailed:
      return fmt::format("The upstream failed; the caller got status {}.", record.status);
    case EndingKind::kCallerGone:
      return "The caller hung up before the reply was complete.";
    case EndingKind::kCut:
      return "The reply broke off after it had begun.";
  }
  return {};
}

std::string UsageSentence(const Usage& usage) {
  switch (usage.source) {
    case UsageSource::kNone:
      return "Nothing was used.";
    case UsageSource::kProvider:
      return "The upstream reported the usage.";
    case UsageSource::kEstimated:
      return "The upstream reported no usage; the figures are the gateway's own count.";
    case UsageSource::kCheckpoint:
      return "The call was cut; the figures are the gateway's own count of what was delivered.";
  }
  return {};
}

// Why the charge is what it is, at the price of the admission. Of a request from before the log
// kept it the present price is shown, with what it would give and whether that is the same.
void WriteExplanation(const ExchangeRecord& record, const config::Config& config, Instant now,
                      JsonWriter& json) {
  json.Open("explanation", '[')
      .Element(EndingSentence(record))
      .Element(UsageSentence(record.usage));
  if (record.attempts > 1) {
    json.Element(
        fmt::format("{} calls to upstreams were made; the last one counts.", record.attempts));
  }
  if (record.held.n > 0) {
    json.Element(fmt::format(
        "{} USD were held before the call, the most it could cost; {} USD were charged and {} USD "
        "given back.",
        FormatUsd(record.held), FormatUsd(record.charged),
        FormatUsd(record.held - record.charged)));
  }
  if (record.overrun.n > 0) {
    json.Element(fmt::format("It cost {} USD more than was held, which the operator bears.",
                             FormatUsd(record.overrun)));
  }
  if (record.wallet) {
    const telemetry::WalletKept& wallet = *record.wallet;
    const Unit unit = UnitOf(wallet);
    json.Element(fmt::format("The wallet held {} and paid {}, {} the {}; {} are left in it.",
                             AmountText({wallet.held}, unit), AmountText({wallet.charged}, unit),
                             policy::MultiplierText(wallet.multiplier_ppm),
                             unit == Unit::kQuotaToken ? "tokens" : "price",
                             AmountText({wallet.left}, unit)));
    if (wallet.overrun > 0) {
      json.Element(fmt::format("It cost {} more than the wallet held, which the operator bears.",
                               AmountText({wallet.overrun}, unit)));
    }
  }
  json.Close(']');

  const config::Model* model = record.model.empty() ? nullptr : config.FindModel(record.model);
  const config::PriceVersion* const listed =
      model == nullptr ? nullptr : config.PriceOf(*model, record.model, now);
  const auto decoded = config::DecodePrice(
      {reinterpret_cast<const std::uint8_t*>(record.price.data()), record.price.size()});
  const bool kept = decoded.has_value();
  if (record.usage.source == UsageSource::kNone || (!kept && listed == nullptr)) {
    json.Null("price");
    return;
  }
  config::PriceVersion price;
  if (kept) {
    price.price = *decoded;
    price.id = config::IdOf(price.price);
  } else {
    price = *listed;
  }
  const NanoUsd cost = policy::PriceOf(price.price, policy::Plausible(record.usage));
  json.Open("price", '{')
      .Text("basis", kept ? "the price of the admission" : "the price in force now");
  WritePrice(price, json);
  json.Usd("cost_usd", cost)
      .Flag("equals_what_was_booked", cost == record.charged + record.overrun)
      .Close('}');
}

}  // namespace

AdminResponse ListRequests(const Call& call) {
  static constexpr std::array<std::string_view, 5> kKnown = {"limit", "cursor", "key", "model",
                                                             "status"};
  QueryReader reader(call.request.query, kKnown);
  store::RequestQuery query;
  query.limit = reader.Count("limit", 1, kPageMax).value_or(kPageDefault);
  query.model = reader.Text("model");
  if (const auto status = reader.Count("status", 100, 599))
    query.status = static_cast<int>(*status);
  if (const auto text = reader.Text("key")) {
    query.key = ParseKeyId(*text);
    if (!query.key) reader.Refuse("key", "is not the id of a key, such as key_01J...");
  }
  if (const auto text = reader.Text("cursor")) {
    query.after = ParseRequestId(*text);
    if (!query.after)
      reader.Refuse("cursor", "is not a cursor; use next_cursor of the page before");
  }
  if (!reader.errors().empty()) {
    return Problem(ProblemType::kInvalidRequest, "The query is wrong; see errors.",
                   reader.errors());
  }
  const auto records = call.ports.requests.List(query);
  if (!records) return Problem(records.error());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const ExchangeRecord& record : *records) {
    json.Open('{');
    WriteRecord(record, json);
    json.Close('}');
  }
  const bool more = static_cast<std::int64_t>(records->size()) == query.limit;
  json.Close(']')
      .TextOrNull("next_cursor", more ? RequestIdText(records->back().request) : std::string())
      .Close('}');
  return JsonResponse(json.Take());
}

namespace {

// The exchange the path names, or the response that says why there is none. One that ended just now
// may still be on its way to the disk.
std::expected<ExchangeRecord, AdminResponse> FindRequest(const Call& call) {
  const auto id = ParseRequestId(call.id);
  if (!id) {
    return std::unexpected(Problem(ProblemType::kNotFound, "There is no request with this id."));
  }
  auto record = call.ports.requests.Find(*id);
  if (record && !*record) {
    call.ports.requests.Flush();
    record = call.ports.requests.Find(*id);
  }
  if (!record) return std::unexpected(Problem(record.error()));
  if (!*record) {
    return std::unexpected(Problem(ProblemType::kNotFound,
                                   "There is no request with this id in the log. A request appears "
                                   "when it has ended."));
  }
  return **std::move(record);
}

}  // namespace

AdminResponse GetRequest(const Call& call) {
  const auto record = FindRequest(call);
  if (!record) return record.error();
  JsonWriter json;
  json.Open('{');
  WriteRecord(*record, json);
  WriteExplanation(*record, *call.ports.config(), call.now, json);
  json.Close('}');
  return JsonResponse(json.Take());
}

AdminResponse GetReceipt(const Call& call) {
  const auto record = FindRequest(call);
  if (!record) return record.error();
  const auto key = call.ports.keys.table()->FindById(record->key);
  return JsonResponse(server::MakeReceipt(*record, key.get(), *call.ports.config(),
                                          server::ReceiptView::kOperator, *call.ports.receipt_key));
}

AdminResponse GetReceiptKey(const Call& call) {
  return JsonResponse(server::ReceiptKeyBody(*call.ports.receipt_key));
}

}  // namespace weir::admin
