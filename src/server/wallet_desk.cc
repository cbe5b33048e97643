#include "server/wallet_desk.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "identity/key_record.h"
#include "identity/redeem_code.h"
#include "policy/wallet_rate.h"
#include "server/on_desk.h"
#include "store/canonical_json.h"
#include "telemetry/log.h"

namespace weir::server {
namespace {

using gateway::RedeemReply;
using gateway::RedeemStatus;
using gateway::WalletAsker;
using gateway::WalletEntry;
using gateway::WalletMove;
using ledger::Unit;
using store::CanonicalObject;
using telemetry::ExchangeRecord;

// Quota tokens as a number; dollars as a decimal text.
void PutAmount(std::string_view name, std::int64_t amount, Unit unit, CanonicalObject& out) {
  if (unit == Unit::kQuotaToken) {
    out.Number(name, amount);
  } else {
    out.Text(name, FormatUsd(NanoUsd{amount}));
  }
}

std::string_view UnitText(Unit unit) { return unit == Unit::kQuotaToken ? "quota_token" : "usd"; }

std::string_view TypeText(WalletMove move) {
  switch (move) {
    case WalletMove::kGiven:
      return "grant";
    case WalletMove::kExpired:
      return "expired";
    case WalletMove::kRevoked:
      return "revoked";
  }
  return "grant";
}

// Where a line stands among the others: requests by their ids, which begin with their time, the
// moves of a wallet by an id like that. Never equal: a move's has its number where a request's is
// random, behind sixteen bits of zero.
Id128 PlaceOf(const WalletEntry& entry) { return {MakeId(entry.time, 0, 0).high, entry.number}; }

std::string LineOf(const WalletEntry& entry, Unit unit) {
  CanonicalObject line;
  line.Text("type", TypeText(entry.move))
      .Text("time", telemetry::FormatInstant(entry.time))
      .Text("grant_id", "grant_" + ToString(entry.grant))
      .Text("unit", UnitText(unit));
  PutAmount("amount", entry.move == WalletMove::kGiven ? entry.amount.n : -entry.amount.n, unit,
            line);
  return line.Write();
}

std::string LineOf(const ExchangeRecord& record) {
  CanonicalObject line;
  line.Text("type", "charge")
      .Text("time", telemetry::FormatInstant(record.started_at))
      .Text("request_id", "req_" + ToString(record.request))
      .TextOrNull("model", record.model)
      .Number("input_tokens", record.usage.input_tokens)
      .Number("output_tokens", record.usage.output_tokens)
      .Text("charged_usd", FormatUsd(record.charged));
  if (record.wallet) {
    const Unit unit = record.wallet->unit == "quota_token" ? Unit::kQuotaToken : Unit::kNanoUsd;
    line.Text("unit", UnitText(unit))
        .Text("multiplier", policy::MultiplierText(record.wallet->multiplier_ppm));
    PutAmount("amount", -record.wallet->charged, unit, line);
  } else {
    line.Null("unit").Null("multiplier").Null("amount");
  }
  return line.Write();
}

struct Line {
  Id128 place;
  std::string json;
};

// The wallet's entries older than a place. They are in the order of their time but for what a
// clock that was set back did, so that the number is looked for from the newest.
std::vector<WalletEntry> EntriesBefore(CreditHost& credit, const ledger::WalletId& wallet,
                                       const std::optional<Id128>& before, std::size_t limit) {
  constexpr std::size_t kStep = 256;
  constexpr int kStepsMax = 64;  // a page looks at no more; what it misses is on a later one
  std::vector<WalletEntry> found;
  std::uint64_t from = UINT64_MAX;
  for (int step = 0; step < kStepsMax && found.size() < limit; ++step) {
    const std::vector<WalletEntry> entries = credit.Entries(wallet, from, kStep);
    if (entries.empty()) break;
    for (const WalletEntry& entry : entries) {
      if (found.size() < limit && (!before || PlaceOf(entry) < *before)) found.push_back(entry);
    }
    from = entries.back().number;
  }
  return found;
}

}  // namespace

Teller::Misses& Teller::MissesOf(const KeyId& key, Instant now) {
  const auto over = [&](const Misses& misses) {
    return now - misses.since >= options_.misses_window || now < misses.since;
  };
  if (misses_.size() >= options_.keys_max && !misses_.contains(key)) {
    std::erase_if(misses_, [&](const auto& one) { return over(one.second); });
    if (misses_.size() >= options_.keys_max) misses_.clear();
  }
  Misses& misses = misses_[key];
  if (over(misses)) misses = {.since = now, .count = 0};
  return misses;
}

RedeemReply Teller::Miss(const KeyId& key, Instant now) {
  ++MissesOf(key, now).count;
  return {.status = RedeemStatus::kNotValid};
}

RedeemReply Teller::Redeem(const WalletAsker& asker, std::string_view code) {
  const Instant now = options_.wall_now();
  const KeyId& key = asker.key->id;
  if (const auto known = misses_.find(key); known != misses_.end()) {
    const Misses& misses = MissesOf(key, now);
    if (misses.count >= options_.misses_max) {
      return {.status = RedeemStatus::kTooMany,
              .retry_after = options_.misses_window - (now - misses.since)};
    }
  }
  const auto normal = identity::NormalCode(code);
  if (!normal || !asker.wallet) return Miss(key, now);
  const auto redeemed =
      store_.Redeem(identity::DigestOfCode(pepper_, *normal), *asker.wallet, asker.unit, key, now);
  if (!redeemed) return {.status = RedeemStatus::kUnavailable};
  switch (redeemed->outcome) {
    case store::RedeemOutcome::kNotValid:
      return Miss(key, now);
    case store::RedeemOutcome::kTaken:
      return {.status = RedeemStatus::kTaken};
    case store::RedeemOutcome::kOtherUnit:
      return {.status = RedeemStatus::kOtherUnit};
    case store::RedeemOutcome::kBound:
      break;
  }
  const ledger::GrantRecord grant = GrantOf(redeemed->code);
  const auto given = credit_.Give(grant);
  if (!given) return {.status = RedeemStatus::kUnavailable};
  // The ledger has a grant of this id for another wallet: wallets.db is an older copy than it.
  if (given->status == gateway::GrantStatus::kConflict) return {.status = RedeemStatus::kTaken};
  return {.status = RedeemStatus::kGiven, .grant = grant};
}

Result<std::string> Teller::Statement(const WalletAsker& asker, std::int64_t limit,
                                      std::string_view before) {
  std::optional<Id128> place;
  if (!before.empty()) {
    place = ParseId(before);
    if (!place) return Fail(ErrorCode::kBadInput, ErrorSource::kCaller, "no place in a statement");
  }
  const auto wanted =
      static_cast<std::size_t>(std::clamp<std::int64_t>(limit, 1, gateway::kStatementMax));
  store::RequestQuery query{
      .key = asker.key->id, .limit = static_cast<std::int64_t>(wanted), .charged = true};
  if (place) {
    query.after = RequestId{*place};
  } else {
    log_.Flush();  // the request that has just ended is on the first page
  }
  const auto requests = log_.ListSome(query, options_.batches_max);
  if (!requests) return std::unexpected(requests.error());

  std::vector<Line> lines;
  for (const ExchangeRecord& record : requests->records) {
    lines.push_back({record.request, LineOf(record)});
  }
  bool more_moves = false;
  if (asker.wallet) {
    const auto entries = EntriesBefore(credit_, *asker.wallet, place, wanted);
    more_moves = entries.size() == wanted;
    for (const WalletEntry& entry : entries) {
      const Id128 at = PlaceOf(entry);
      // Below this there may be requests that were not looked at yet.
      if (requests->next && at < *requests->next) {
        more_moves = true;
        continue;
      }
      lines.push_back({at, LineOf(entry, asker.unit)});
    }
  }
  std::ranges::sort(lines, std::greater<>(), &Line::place);
  std::optional<Id128> next;
  if (lines.size() >= wanted && (lines.size() > wanted || more_moves || requests->next)) {
    lines.resize(wanted);
    next = lines.back().place;
  } else if (requests->next) {
    next = *requests->next;
  }
  std::vector<std::string> items;
  for (Line& line : lines) items.push_back(std::move(line.json));
  return CanonicalObject()
      .Text("object", "statement")
      .Json("data", store::CanonicalList(items))
      .TextOrNull("next_before", next ? ToString(*next) : std::string())
      .Write();
}

Task<RedeemReply> WalletPort::Redeem(WalletAsker asker, std::string code) {
  const KeyId key = asker.key->id;
  return OnDesk(desk_, post_, key, RedeemReply{},
                [&teller = teller_, asker = std::move(asker), code = std::move(code)] {
                  return teller.Redeem(asker, code);
                });
}

Task<Result<std::string>> WalletPort::Statement(WalletAsker asker, std::int64_t limit,
                                                std::string before) {
  const KeyId key = asker.key->id;
  return OnDesk(desk_, post_, key,
                Result<std::string>(Fail(ErrorCode::kUnavailable, ErrorSource::kUs,
                                         "too many statements are asked for")),
                [&teller = teller_, asker = std::move(asker), limit, before = std::move(before)] {
                  return teller.Statement(asker, limit, before);
                });
}

}  // namespace weir::server
