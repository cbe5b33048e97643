// The codes resource: packs that a customer redeems with POST /v1/redeem. A code leaves in the
// response that made it and never again.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "admin/handlers.h"
#include "admin/wallet_json.h"
#include "base/check.h"
#include "config/scalar.h"
#include "gateway/wallet_owner.h"
#include "identity/redeem_code.h"
#include "store/wallet_store.h"

namespace weir::admin {

namespace {

using ledger::Unit;
using store::CodeId;
using store::CodeRecord;

constexpr std::string_view kCodePrefix = "code_";
constexpr std::string_view kBatchPrefix = "batch_";
constexpr Duration kDay = Seconds(24 * 3600);
constexpr Duration kValidForMax = Seconds(100LL * 366 * 24 * 3600);

std::optional<Id128> ParsePrefixed(std::string_view prefix, std::string_view text) {
  if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
  return ParseId(text);
}

// "30d", or a duration as the file has them.
std::optional<Duration> ParsePeriod(std::string_view text) {
  std::optional<Duration> period;
  if (text.ends_with('d')) {
    const auto days = config::ParseCount(text.substr(0, text.size() - 1));
    if (days && *days >= 0 && *days <= kValidForMax.ns / kDay.ns) period = {*days * kDay.ns};
  } else {
    period = config::ParseDuration(text);
  }
  if (!period || period->ns <= 0 || *period > kValidForMax) return std::nullopt;
  return period;
}

// The one unit that packages have, when there is one.
std::optional<Unit> UsualUnit(const config::Config& config) {
  std::optional<Unit> usual;
  for (const config::Package& package : config.packages) {
    const auto unit = gateway::UnitOf(package.wallet);
    if (!unit) continue;
    if (usual && *usual != *unit) return std::nullopt;
    usual = unit;
  }
  return usual;
}

// Takes "unit" from the body; refuses when it is not there and nothing says what it could be.
Unit ReadUnit(ObjectReader& reader, const config::Config& config) {
  static constexpr std::array<std::string_view, 2> kUnits = {"quota_token", "usd"};
  std::string text;
  if (reader.Choice("unit", kUnits, text)) {
    return text == "usd" ? Unit::kNanoUsd : Unit::kQuotaToken;
  }
  const auto usual = UsualUnit(config);
  if (!usual && !reader.Has("unit")) {
    reader.Refuse("unit", "is missing: the packages of the file do not have one kind of wallet");
  }
  return usual.value_or(Unit::kQuotaToken);
}

void WriteTerms(const CodeRecord& code, JsonWriter& json) {
  json.Text("unit", UnitText(code.unit));
  WriteAmount("amount", code.amount, code.unit, json);
  json.Text("category", CategoryText(code.category)).Number("priority", code.priority);
  if (code.valid_for) {
    json.Number("valid_for_seconds", code.valid_for->ns / Seconds(1).ns);
  } else {
    json.Null("valid_for_seconds");
  }
  json.Time("expires_at", code.expires_at).Time("redeem_by", code.redeem_by);
}

std::string_view StateText(const CodeRecord& code, Instant now) {
  if (code.redeemed_at) return "redeemed";
  if (code.revoked_at) return "revoked";
  if ((code.redeem_by && *code.redeem_by <= now) || (code.expires_at && *code.expires_at <= now)) {
    return "expired";
  }
  return "open";
}

}  // namespace

AdminResponse CreateCodes(const Call& call) {
  const auto body = ParseBody(call.request);
  if (!body) return body.error();
  const auto config = call.ports.config();
  std::vector<FieldError> errors;
  ObjectReader reader(*body, "", errors);
  CodeRecord code;
  code.created_at = call.now;
  code.unit = ReadUnit(reader, *config);
  const GrantTerms terms = ReadTerms(reader, code.unit);
  code.amount = terms.amount;
  code.category = terms.category;
  code.priority = terms.priority;
  std::int64_t count = 1;
  reader.Count("count", 1, store::kCodesPerBatchMax, count);
  if (const boost::json::value* period = reader.Any("valid_for");
      period != nullptr && !period->is_null()) {
    code.valid_for =
        period->is_string() ? ParsePeriod(std::string_view(period->get_string())) : std::nullopt;
    if (!code.valid_for) {
      reader.Refuse("valid_for", "must be a duration of at most a hundred years, such as \"30d\"");
    }
  }
  ReadFuture(reader, "expires_at", call.now, code.expires_at);
  ReadFuture(reader, "redeem_by", call.now, code.redeem_by);
  if (code.valid_for && code.expires_at) {
    reader.Refuse("valid_for", "and expires_at both say when the grant ends; give one");
  }
  reader.Finish();
  if (!errors.empty()) return InvalidBody(errors);

  std::vector<CodeRecord> codes;
  std::vector<Secret> texts;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto random = call.ports.random();
    if (!random) return Problem(random.error());
    // The code takes nineteen of the bytes and its id ten of the others.
    std::uint64_t low = 0;
    std::uint16_t high = 0;
    std::memcpy(&low, random->data() + 19, sizeof(low));
    std::memcpy(&high, random->data() + 27, sizeof(high));
    code.id = CodeId{MakeId(call.now, high, low)};
    Secret text = identity::GenerateCode(config->brand.key_prefix, *random);
    const auto normal = identity::NormalCode(text.Reveal());
    CHECK(normal.has_value(), "a code that was made is one");
    code.digest = identity::DigestOfCode(call.ports.pepper, *normal);
    code.display = identity::DisplayCode(*normal);
    if (i == 0) {
      code.batch = code.id;
      ++code.batch.low;
    }
    codes.push_back(code);
    texts.push_back(std::move(text));
  }
  const std::string batch = std::string(kBatchPrefix) + ToString(code.batch);
  const store::AuditNote note{call.now, std::string(call.actor), "codes_create",
                              fmt::format("{} {} codes of {}", count, CategoryText(code.category),
                                          AmountText(code.amount, code.unit))};
  if (auto stored = call.ports.wallets.store->Insert(codes, batch, note); !stored) {
    return Problem(stored.error());
  }
  JsonWriter json;
  json.Open('{').Text("batch", batch);
  WriteTerms(code, json);
  json.Open("codes", '[');
  for (std::size_t i = 0; i < codes.size(); ++i) {
    json.Open('{')
        .Text("id", std::string(kCodePrefix) + ToString(codes[i].id))
        .Text("code", texts[i].Reveal())
        .Close('}');
  }
  json.Close(']').Close('}');
  return JsonResponse(json.Take(), 201);
}

AdminResponse ListCodes(const Call& call) {
  static constexpr std::array<std::string_view, 3> kKnown = {"limit", "cursor", "batch"};
  QueryReader reader(call.request.query, kKnown);
  store::CodeQuery query;
  query.limit = reader.Count("limit", 1, kPageMax).value_or(kPageDefault);
  if (const auto text = reader.Text("batch")) {
    query.batch = ParsePrefixed(kBatchPrefix, *text);
    if (!query.batch) reader.Refuse("batch", "is not the id of a batch, such as batch_01J...");
  }
  if (const auto text = reader.Text("cursor")) {
    const auto id = ParsePrefixed(kCodePrefix, *text);
    if (id) query.before = CodeId{*id};
    if (!id) reader.Refuse("cursor", "is not a cursor; use next_cursor of the page before");
  }
  if (!reader.errors().empty()) return InvalidBody(reader.errors());
  const auto codes = call.ports.wallets.store->List(query);
  if (!codes) return Problem(codes.error());
  JsonWriter json;
  json.Open('{').Open("data", '[');
  for (const CodeRecord& code : *codes) {
    json.Open('{')
        .Text("id", std::string(kCodePrefix) + ToString(code.id))
        .Text("batch", std::string(kBatchPrefix) + ToString(code.batch))
        .Text("display", code.display)
        .Text("state", StateText(code, call.now));
    WriteTerms(code, json);
    json.Time("created_at", code.created_at)
        .Time("revoked_at", code.revoked_at)
        .Time("redeemed_at", code.redeemed_at)
        .TextOrNull("redeemed_by", code.redeemed_at ? KeyIdText(code.redeemed_key) : std::string())
        .TextOrNull("grant_id", code.redeemed_at ? "grant_" + ToString(code.id) : std::string())
        .Close('}');
  }
  const bool more = static_cast<std::int64_t>(codes->size()) == query.limit;
  json.Close(']')
      .TextOrNull("next_cursor",
                  more ? std::string(kCodePrefix) + ToString(codes->back().id) : std::string())
      .Close('}');
  return JsonResponse(json.Take());
}

AdminResponse RevokeCodes(const Call& call) {
  const std::string_view prefix = call.id.starts_with(kBatchPrefix) ? kBatchPrefix : kCodePrefix;
  const auto id = ParsePrefixed(prefix, call.id);
  const auto none = [] {
    return Problem(ProblemType::kNotFound, "There is no code and no batch of codes with this id.");
  };
  if (!id) return none();
  if (prefix == kCodePrefix) {
    const auto code = call.ports.wallets.store->Find(CodeId{*id});
    if (!code) return Problem(code.error());
    if (!*code) return none();
    if ((*code)->redeemed_at) {
      return Problem(
          ProblemType::kConflict,
          "The code was redeemed; revoke the grant it made: DELETE /admin/v1/grants/ID.");
    }
  } else {
    const auto codes = call.ports.wallets.store->List({.batch = id, .before = {}, .limit = 1});
    if (!codes) return Problem(codes.error());
    if (codes->empty()) return none();
  }
  const auto revoked = call.ports.wallets.store->Revoke(
      *id, {call.now, std::string(call.actor), "codes_revoke", ""});
  if (!revoked) return Problem(revoked.error());
  JsonWriter json;
  json.Open('{').Text("id", std::string(prefix) + ToString(*id)).Number("revoked", *revoked);
  json.Close('}');
  return JsonResponse(json.Take());
}

}  // namespace weir::admin
