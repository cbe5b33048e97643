#include "server/receipt.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "config/price_codec.h"
#include "policy/quote.h"
#include "policy/wallet_rate.h"
#include "store/canonical_json.h"
#include "telemetry/log.h"

namespace weir::server {
namespace {

namespace json = boost::json;
using store::CanonicalObject;
using telemetry::ExchangeRecord;

constexpr std::string_view kType = "weir.receipt/1";
constexpr std::string_view kQuotaTokenUnit = "quota_token";
constexpr std::string_view kRounding = "once, up, to a whole nano-USD";

std::string Amount(NanoUsd amount) { return std::to_string(amount.n); }

// Sums of products of two int64 have up to 39 digits.
std::string Amount(PicoUsd amount) {
  const bool negative = amount < 0;
  auto rest =
      negative ? -static_cast<unsigned __int128>(amount) : static_cast<unsigned __int128>(amount);
  std::string text;
  do {
    text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(rest % 10)));
    rest /= 10;
  } while (rest != 0);
  return negative ? "-" + text : text;
}

// The price of the admission, if it was kept.
std::optional<config::Price> PriceOf(const ExchangeRecord& record) {
  if (record.price.empty()) return std::nullopt;
  const auto price = config::DecodePrice(
      {reinterpret_cast<const std::uint8_t*>(record.price.data()), record.price.size()});
  return price ? std::optional(*price) : std::nullopt;
}

std::string Hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

std::optional<std::vector<std::uint8_t>> FromHex(std::string_view text) {
  if (text.size() % 2 != 0 || text.size() > 2 * config::kPriceBytesMax) return std::nullopt;
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    std::uint8_t byte = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    if (error != std::errc() || end != text.data() + i + 2) return std::nullopt;
    bytes.push_back(byte);
  }
  return bytes;
}

// The rates most prices have, for a reader, and the whole of it as the ledger keeps it: tiers and
// the rest, too.
std::string PriceJson(const config::Price& price, std::string_view bytes) {
  return CanonicalObject()
      .Number("version", price.version)
      .Text("id", config::Format(config::IdOf(price)))
      .Text("encoded", Hex(bytes))
      .Text("input_pico_usd", std::to_string(price.input.p))
      .Text("cached_input_pico_usd", std::to_string(price.cached_input.p))
      .Text("cache_write_pico_usd", std::to_string(price.cache_write.p))
      .Text("output_pico_usd", std::to_string(price.output.p))
      .Text("request_nano_usd", Amount(price.per_request))
      .Text("audio_second_nano_usd", Amount(price.audio_second))
      .Write();
}

std::string UsageJson(const Usage& usage) {
  return CanonicalObject()
      .Text("source", Name(usage.source))
      .Number("input_tokens", usage.input_tokens)
      .Number("cached_input_tokens", usage.cached_input_tokens)
      .Number("cache_write_tokens", usage.cache_write_tokens)
      .Number("output_tokens", usage.output_tokens)
      .Number("reasoning_tokens", usage.reasoning_tokens)
      .Number("audio_ms", usage.audio_ms)
      .Number("cache_write_1h_tokens", usage.cache_write_1h_tokens)
      .Number("input_audio_tokens", usage.input_audio_tokens)
      .Number("output_audio_tokens", usage.output_audio_tokens)
      .Number("tool_calls", usage.tool_calls)
      .Number("images", usage.images)
      .Number("video_ms", usage.video_ms)
      // Its place in the price's list; -1 is the dearest.
      .Number("image_kind",
              usage.image_kind == kDearestImage ? -1 : static_cast<std::int64_t>(usage.image_kind))
      .Write();
}

std::string WalletJson(const ExchangeRecord& record) {
  if (!record.wallet) return "null";
  const telemetry::WalletKept& wallet = *record.wallet;
  return CanonicalObject()
      .Text("unit", wallet.unit)
      .Text("multiplier", policy::MultiplierText(wallet.multiplier_ppm))
      .Number("multiplier_ppm", wallet.multiplier_ppm)
      .Text("held", std::to_string(wallet.held))
      .Text("charged", std::to_string(wallet.charged))
      .Text("overrun", std::to_string(wallet.overrun))
      .Text("left", std::to_string(wallet.left))
      .Write();
}

std::string ChargeJson(const ExchangeRecord& record, const std::optional<config::Price>& price,
                       const Usage& usage) {
  CanonicalObject charge;
  charge.Flag("due", record.charge)
      .Text("held_nano_usd", Amount(record.held))
      .Text("charged_nano_usd", Amount(record.charged))
      .Text("overrun_nano_usd", Amount(record.overrun))
      .Text("rounding", kRounding);
  if (price && usage.source != UsageSource::kNone) {
    charge.Text("exact_pico_usd", Amount(policy::ExactPrice(*price, usage)))
        .Text("price_nano_usd", Amount(policy::PriceOf(*price, usage)));
  } else {
    charge.Null("exact_pico_usd").Null("price_nano_usd");
  }
  return charge.Write();
}

std::string LedgerJson(const ExchangeRecord& record) {
  if (record.hold_position == 0) return "null";
  CanonicalObject ledger;
  ledger.Number("hold_position", static_cast<std::int64_t>(record.hold_position));
  if (record.settle_position == 0) {
    ledger.Null("settle_position");
  } else {
    ledger.Number("settle_position", static_cast<std::int64_t>(record.settle_position));
  }
  return ledger.Write();
}

std::string HoldJson(const ExchangeRecord& record) {
  if (record.hold_position == 0) return "null";
  CanonicalObject hold;
  hold.Number("input_tokens_bound", record.input_tokens_bound)
      .Number("output_tokens_bound", record.output_tokens_bound)
      .Number("audio_ms_bound", record.audio_ms_bound)
      .Number("tool_calls_bound", record.tool_calls_bound);
  if (record.output_tokens_granted > 0) {
    hold.Number("output_tokens_granted", record.output_tokens_granted);
  } else {
    hold.Null("output_tokens_granted");
  }
  hold.Text("mode", record.adaptive ? "adaptive" : "strict");
  return hold.Write();
}

std::string HangUpJson(const ExchangeRecord& record) {
  if (record.hang_up_rule.empty()) return "null";
  return CanonicalObject()
      .Text("rule", record.hang_up_rule)
      .Flag("applied", record.ending == EndingKind::kCallerGone)
      .Write();
}

std::string LimitJson(const telemetry::LimitKept& limit) {
  if (limit.limit == 0) return "null";
  return CanonicalObject()
      .Number("limit", limit.limit)
      .Number("remaining", limit.remaining)
      .Write();
}

std::string LimitsJson(const ExchangeRecord& record) {
  CanonicalObject limits;
  limits.Json("requests_per_minute", LimitJson(record.requests))
      .Json("tokens_per_minute", LimitJson(record.tokens));
  if (record.budget) {
    limits.Json("budget", CanonicalObject()
                              .Text("limit_nano_usd", Amount(*record.budget))
                              .Text("remaining_nano_usd", Amount(record.budget_remaining))
                              .Write());
  } else {
    limits.Null("budget");
  }
  return limits.Write();
}

// "a, b" -> "a" and "b".
std::vector<std::string_view> Parts(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(", "), text.size());
    parts.push_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 2, text.size()));
  }
  return parts;
}

// What session.cc wrote: "ACCOUNT STATUS OUTCOME".
std::string AttemptsJson(const ExchangeRecord& record, ReceiptView view) {
  std::vector<std::string> items;
  for (const std::string_view part : Parts(record.attempts_told)) {
    const std::size_t outcome = part.rfind(' ');
    const std::size_t status = part.rfind(' ', outcome - 1);
    if (outcome == std::string_view::npos || outcome == 0 || status == std::string_view::npos) {
      continue;
    }
    CanonicalObject attempt;
    std::int64_t code = 0;
    std::from_chars(part.data() + status + 1, part.data() + outcome, code);
    attempt.Number("status", code).Text("outcome", part.substr(outcome + 1));
    if (view == ReceiptView::kOperator) attempt.Text("account", part.substr(0, status));
    items.push_back(attempt.Write());
  }
  return CanonicalObject()
      .Number("count", record.attempts)
      .Json("told", store::CanonicalList(items))
      .Write();
}

std::string TimeJson(const ExchangeRecord& record) {
  return CanonicalObject()
      .Text("started_at", telemetry::FormatInstant(record.started_at))
      .Text("ended_at", telemetry::FormatInstant(record.started_at + record.total))
      .Number("total_us", record.total.ns / 1000)
      .Number("queue_us", record.queue_time.ns / 1000)
      .Number("upstream_us", record.upstream_time.ns / 1000)
      .Number("first_byte_us", record.first_byte.ns / 1000)
      .Number("durable_us", record.durable_time.ns / 1000)
      .Write();
}

std::string RefusalJson(const ExchangeRecord& record) {
  if (record.refusal == Refusal::kNone) return "null";
  const RefusalText& text = TextOf(record.refusal);
  return CanonicalObject()
      .TextOrNull("code", text.code)
      .Text("type", text.type)
      .Text("message", text.message)
      .Write();
}

// Whose request it was, by what its key and itself said, and what quota policies said of it.
std::string AttributesJson(const ExchangeRecord& record) {
  CanonicalObject attributes;
  record.attributes.ForEach([&](config::Dimension dimension, std::string_view value) {
    // The rest is told elsewhere in the receipt, or is the operator's.
    if ((config::kAttributeBits & config::BitOf(dimension)) != 0) {
      attributes.Text(Name(dimension), value);
    }
  });
  return attributes.Write();
}

std::string PoliciesJson(const ExchangeRecord& record) {
  std::vector<std::string> shadow;
  for (const std::string_view id : Parts(record.policies_shadow)) {
    shadow.push_back(store::CanonicalText(id));
  }
  return CanonicalObject()
      .TextOrNull("refused_by", record.policy_refused)
      .TextOrNull("degraded_by", record.policy_degraded)
      .Json("shadow", store::CanonicalList(shadow))
      .Write();
}

// What the figures mean, for a person.
std::string ExplanationJson(const ExchangeRecord& record) {
  std::vector<std::string> sentences;
  const auto say = [&](std::string sentence) {
    sentences.push_back(store::CanonicalText(sentence));
  };
  if (record.sandbox) say("Answered by the sandbox; no provider was called.");
  switch (record.usage.source) {
    case UsageSource::kNone:
      say("Nothing was used that could be charged.");
      break;
    case UsageSource::kProvider:
      say("The provider reported the usage.");
      break;
    case UsageSource::kEstimated:
      say("The provider reported no usage; it is the gateway's own count.");
      break;
    case UsageSource::kCheckpoint:
      say("The call was cut; the usage is the gateway's own count of what was delivered.");
      break;
  }
  if (record.ending == EndingKind::kCallerGone && !record.hang_up_rule.empty()) {
    say(fmt::format("The caller hung up; the rule {} decided what is charged.",
                    record.hang_up_rule));
  }
  if (record.hold_position != 0) {
    say(fmt::format(
        "{} USD were held before the call, the most it could cost; {} USD were charged.",
        FormatUsd(record.held), FormatUsd(record.charged)));
  }
  if (record.wallet) {
    const bool tokens = record.wallet->unit == kQuotaTokenUnit;
    const auto shown = [&](std::int64_t amount) {
      return tokens ? fmt::format("{} quota tokens", amount)
                    : fmt::format("{} USD", FormatUsd(NanoUsd{amount}));
    };
    say(fmt::format("The wallet paid {} of the {} that were held, {} the {}.",
                    shown(record.wallet->charged), shown(record.wallet->held),
                    policy::MultiplierText(record.wallet->multiplier_ppm),
                    tokens ? "tokens" : "price"));
  }
  if (record.overrun.n > 0) {
    say(fmt::format("It cost {} USD more than was held, which the operator bears.",
                    FormatUsd(record.overrun)));
  }
  if (record.output_tokens_granted > 0) {
    say(fmt::format("The output was bounded to {} tokens, which is what the budget allowed.",
                    record.output_tokens_granted));
  }
  if (!record.policy_refused.empty()) {
    say(fmt::format("The quota policy {} refused it.", record.policy_refused));
  }
  if (!record.policy_degraded.empty()) {
    say(fmt::format("The quota policy {} sent it to another model than was asked for.",
                    record.policy_degraded));
  }
  return store::CanonicalList(sentences);
}

}  // namespace

std::string PriceBytes(const config::Price& price) {
  std::vector<std::uint8_t> bytes;
  config::EncodePrice(price, bytes);
  return {bytes.begin(), bytes.end()};
}

std::string MakeReceipt(const ExchangeRecord& record, const identity::KeyRecord* key,
                        const config::Config& config, ReceiptView view,
                        const store::ReceiptKey& signer) {
  // What is shown is what was priced, so that a reader who multiplies arrives at the charge.
  const Usage usage = policy::Plausible(record.usage);
  const std::optional<config::Price> price = PriceOf(record);
  std::vector<std::string> changes;
  for (const std::string_view change : Parts(record.changes)) {
    changes.push_back(store::CanonicalText(change));
  }
  CanonicalObject receipt;
  receipt.Text("type", kType)
      .Text("issuer", config.brand.name)
      .Json("signed_by", CanonicalObject()
                             .Text("algorithm", "Ed25519")
                             .Text("public_key", signer.public_key())
                             .Write())
      .Text("id", "req_" + ToString(record.request))
      .TextOrNull("operation", record.operation)
      .Flag("stream", record.stream)
      .Flag("sandbox", record.sandbox)
      .Json("model", CanonicalObject()
                         .TextOrNull("asked", record.model)
                         .TextOrNull("charged_as", record.model_charged)
                         .TextOrNull("reported", record.model_served)
                         .Write())
      .TextOrNull("upstream_kind", record.upstream_kind)
      .Json("attempts", AttemptsJson(record, view))
      .Text("ending", Name(record.ending))
      .Number("status", record.status)
      .Json("refusal", RefusalJson(record))
      .Json("changes", store::CanonicalList(changes))
      .TextOrNull("session", record.sticky)
      .Number("queue_position", record.queue_position)
      .Json("usage", UsageJson(usage))
      .Json("price", price ? PriceJson(*price, record.price) : "null")
      .Json("hold", HoldJson(record))
      .Json("charge", ChargeJson(record, price, usage))
      .Json("wallet", WalletJson(record))
      .Json("ledger", LedgerJson(record))
      .Json("hang_up", HangUpJson(record))
      .Json("limits", LimitsJson(record))
      .TextOrNull("action", record.action)
      .Json("attributes", AttributesJson(record))
      .Json("policies", PoliciesJson(record))
      .Json("time", TimeJson(record))
      .Json("explanation", ExplanationJson(record));
  if (record.key.empty()) {
    receipt.Null("key");
  } else {
    receipt.Json("key", CanonicalObject()
                            .Text("id", "key_" + ToString(record.key))
                            .TextOrNull("name", key == nullptr ? "" : key->name)
                            .TextOrNull("workspace", key == nullptr ? "" : key->workspace)
                            .TextOrNull("environment", key == nullptr ? "" : key->environment)
                            .Write());
  }
  if (view == ReceiptView::kOperator) receipt.TextOrNull("account", record.upstream);
  const std::string signature = signer.Sign(receipt.Write());
  return receipt.Text("signature", signature).Write();
}

std::string ReceiptKeyBody(const store::ReceiptKey& key) {
  return CanonicalObject()
      .Text("algorithm", "Ed25519")
      .Text("public_key", key.public_key())
      .Write();
}

namespace {

// Reads a receipt by the paths of its members; remembers the first that is missing or wrong.
class Fields {
 public:
  explicit Fields(const json::object& root) : root_(root) {}

  const json::value* At(std::string_view outer, std::string_view inner) const {
    const json::value* object = root_.if_contains(outer);
    if (object == nullptr || !object->is_object()) return nullptr;
    return object->get_object().if_contains(inner);
  }
  std::string Text(std::string_view outer, std::string_view inner) const {
    const json::value* value = At(outer, inner);
    return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                  : std::string();
  }
  // A count, or an amount in a text; none is below zero.
  std::int64_t Number(std::string_view outer, std::string_view inner) {
    const json::value* value = At(outer, inner);
    std::int64_t number = value != nullptr && value->is_int64() ? value->get_int64() : -1;
    if (number >= 0) return number;
    const std::string text = Text(outer, inner);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() || number < 0) {
      if (missing_.empty()) missing_ = fmt::format("{}.{}", outer, inner);
      return 0;
    }
    return number;
  }
  bool Null(std::string_view name) const {
    const json::value* value = root_.if_contains(name);
    return value == nullptr || value->is_null();
  }
  bool Flag(std::string_view outer, std::string_view inner) const {
    const json::value* value = At(outer, inner);
    return value != nullptr && value->is_bool() && value->get_bool();
  }
  const std::string& missing() const { return missing_; }

 private:
  const json::object& root_;
  std::string missing_;
};

UsageSource SourceOf(std::string_view name) {
  for (const UsageSource source :
       {UsageSource::kProvider, UsageSource::kEstimated, UsageSource::kCheckpoint}) {
    if (Name(source) == name) return source;
  }
  return UsageSource::kNone;
}

// The whole price. That it is what the other members show is checked, too.
config::Price PriceIn(Fields& fields, std::vector<std::string>& faults) {
  config::Price price;
  price.input = {fields.Number("price", "input_pico_usd")};
  price.cached_input = {fields.Number("price", "cached_input_pico_usd")};
  price.cache_write = {fields.Number("price", "cache_write_pico_usd")};
  price.output = {fields.Number("price", "output_pico_usd")};
  price.per_request = {fields.Number("price", "request_nano_usd")};
  price.audio_second = {fields.Number("price", "audio_second_nano_usd")};
  if (fields.At("price", "encoded") == nullptr) return price;  // of before prices had more
  const auto bytes = FromHex(fields.Text("price", "encoded"));
  const auto whole = bytes ? config::DecodePrice(*bytes)
                           : std::expected<config::Price, config::PriceDecodeFault>(
                                 std::unexpected(config::PriceDecodeFault::kMalformed));
  if (!whole) {
    faults.emplace_back("price.encoded is no price");
    return price;
  }
  if (price.input != whole->input || price.cached_input != whole->cached_input ||
      price.cache_write != whole->cache_write || price.output != whole->output ||
      price.per_request != whole->per_request || price.audio_second != whole->audio_second) {
    faults.emplace_back("price.encoded is another price than the rates beside it");
  }
  return *whole;
}

Usage UsageIn(Fields& fields) {
  Usage usage{.input_tokens = fields.Number("usage", "input_tokens"),
              .cached_input_tokens = fields.Number("usage", "cached_input_tokens"),
              .cache_write_tokens = fields.Number("usage", "cache_write_tokens"),
              .output_tokens = fields.Number("usage", "output_tokens"),
              .reasoning_tokens = fields.Number("usage", "reasoning_tokens"),
              .source = SourceOf(fields.Text("usage", "source")),
              .audio_ms = fields.Number("usage", "audio_ms")};
  if (fields.At("usage", "video_ms") == nullptr) return usage;  // of before there was more
  usage.cache_write_1h_tokens = fields.Number("usage", "cache_write_1h_tokens");
  usage.input_audio_tokens = fields.Number("usage", "input_audio_tokens");
  usage.output_audio_tokens = fields.Number("usage", "output_audio_tokens");
  usage.tool_calls = fields.Number("usage", "tool_calls");
  usage.images = fields.Number("usage", "images");
  usage.video_ms = fields.Number("usage", "video_ms");
  const json::value* kind = fields.At("usage", "image_kind");
  if (kind != nullptr && kind->is_int64() && kind->get_int64() >= 0 &&
      kind->get_int64() < kDearestImage) {
    usage.image_kind = static_cast<std::uint32_t>(kind->get_int64());
  }
  return usage;
}

policy::WalletRate RateIn(Fields& fields) {
  return {.unit = fields.Text("wallet", "unit") == kQuotaTokenUnit ? ledger::Unit::kQuotaToken
                                                                   : ledger::Unit::kNanoUsd,
          .multiplier_ppm =
              std::min(fields.Number("wallet", "multiplier_ppm"), policy::kMultiplierMax)};
}

// What the wallet paid follows from the usage and the multiplier.
template <class Differs>
void CheckWallet(Fields& fields, const config::Price& price, const Usage& usage,
                 const Differs& differs) {
  const policy::WalletRate rate = RateIn(fields);
  const ledger::Amount held{fields.Number("wallet", "held")};
  const ledger::Amount cost =
      fields.Flag("charge", "due") ? policy::WalletPriceOf(rate, price, usage) : ledger::Amount{0};
  const ledger::Amount charged = std::min(cost, held);
  differs("wallet.charged", fields.Text("wallet", "charged"), std::to_string(charged.n));
  differs("wallet.overrun", fields.Text("wallet", "overrun"), std::to_string((cost - charged).n));
  differs("wallet.multiplier", fields.Text("wallet", "multiplier"),
          policy::MultiplierText(rate.multiplier_ppm));
}

// Whether the amounts follow from one another, as far as the receipt tells.
void CheckAmounts(const json::object& root, std::vector<std::string>& faults) {
  Fields fields(root);
  const auto differs = [&](std::string_view what, const std::string& is,
                           const std::string& should) {
    if (is != should) faults.push_back(fmt::format("{} is {}, not {}", what, is, should));
  };
  const NanoUsd held{fields.Number("charge", "held_nano_usd")};
  const NanoUsd charged{fields.Number("charge", "charged_nano_usd")};
  const NanoUsd overrun{fields.Number("charge", "overrun_nano_usd")};
  if (charged > held) {
    faults.push_back(fmt::format("charge.charged_nano_usd is {}, more than the {} that were held",
                                 charged.n, held.n));
  }
  if (!fields.Null("price")) {
    const config::Price price = PriceIn(fields, faults);
    const Usage usage = UsageIn(fields);
    NanoUsd cost;
    if (usage.source != UsageSource::kNone) {
      cost = policy::PriceOf(price, usage);
      differs("charge.exact_pico_usd", fields.Text("charge", "exact_pico_usd"),
              Amount(policy::ExactPrice(price, usage)));
      differs("charge.price_nano_usd", fields.Text("charge", "price_nano_usd"), Amount(cost));
    }
    if (!fields.Flag("charge", "due")) cost = {};
    differs("charge.charged_nano_usd", Amount(charged), Amount(std::min(cost, held)));
    differs("charge.overrun_nano_usd", Amount(overrun), Amount(cost - std::min(cost, held)));
    // A hold that grew was rounded each time and need not have come to its bound.
    const bool strict = fields.Text("hold", "mode") != "adaptive";
    if (!fields.Null("hold") && strict) {
      const policy::TokenBounds bounds{
          .input = fields.Number("hold", "input_tokens_bound"),
          .output = fields.Number("hold", "output_tokens_bound"),
          .audio_ms = fields.Number("hold", "audio_ms_bound"),
          // Absent before these were held for.
          .tool_calls = fields.At("hold", "tool_calls_bound") == nullptr
                            ? 0
                            : fields.Number("hold", "tool_calls_bound")};
      differs("charge.held_nano_usd", Amount(held), Amount(policy::HoldOf(price, bounds)));
      if (!fields.Null("wallet")) {
        differs("wallet.held", fields.Text("wallet", "held"),
                std::to_string(policy::WalletHoldOf(RateIn(fields), price, bounds).n));
      }
    }
    if (!fields.Null("wallet")) CheckWallet(fields, price, usage, differs);
  }
  if (!fields.missing().empty()) faults.push_back(fields.missing() + " is missing or no amount");
}

}  // namespace

ReceiptCheck CheckReceipt(std::string_view text, const std::optional<std::string>& public_key) {
  ReceiptCheck check;
  if (text.size() > kReceiptBytesMax) {
    check.faults.push_back("it is too large to be a receipt");
    return check;
  }
  const auto canonical = store::Canonicalised(text, "signature");
  if (!canonical) {
    check.faults.push_back(canonical.error().detail);
    return check;
  }
  const json::value parsed = json::parse(text);  // which was parsed before
  const json::object& root = parsed.get_object();
  const auto member = [&](std::string_view name) {
    const json::value* value = root.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                  : std::string();
  };
  if (member("type") != kType) {
    check.faults.push_back(
        fmt::format("its type is \"{:.32}\", not \"{}\"", member("type"), kType));
    return check;
  }
  check.request = member("id");
  check.signed_by = Fields(root).Text("signed_by", "public_key");
  if (public_key && check.signed_by != *public_key) {
    check.faults.push_back(fmt::format("it says it is signed by {:.64}, not by the key given",
                                       check.signed_by.empty() ? "nobody" : check.signed_by));
  }
  const std::string& signer = public_key ? *public_key : check.signed_by;
  if (!store::VerifyReceiptSignature(*canonical, member("signature"), signer)) {
    check.faults.push_back("the signature does not fit: it was changed, or signed by another key");
  }
  CheckAmounts(root, check.faults);
  return check;
}

}  // namespace weir::server
