// The auditor agrees with every journal the machine writes, and names the one invariant that each
// kind of damage breaks. The damage is done to records, because that is where it would come from.
#include "gateway/ledger_audit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/random.h"

namespace weir::gateway {
namespace {

constexpr Instant kNow{1'700'000'000'000'000'000};
constexpr config::Price kPrice{.input = {1'000'000},
                               .cached_input = {100'000},
                               .cache_write = {1'000'000},
                               .output = {2'000'000},
                               .per_request = {0},
                               .version = 4};

RequestId Request(std::uint64_t n) { return {{0x0192'0000'0000'0000 + n, n * 7919}}; }
KeyId Key(std::uint64_t n) { return {{0x0191'0000'0000'0000 + n, n * 104'729}}; }

AdmitCommand Ask(std::uint64_t n, std::uint64_t key, std::int64_t output, std::int64_t budget) {
  AdmitCommand command{.request = Request(n),
                       .key = Key(key),
                       .limits = {.requests_per_minute = 0,
                                  .tokens_per_minute = 0,
                                  .concurrent_requests = 0,
                                  .budget = {}},
                       .quote = {.price = kPrice,
                                 .input_tokens_bound = 100,
                                 .output_tokens_bound = output,
                                 .output_choices = 1,
                                 .output_tokens_useful = 10}};
  if (budget > 0) command.limits.budget = NanoUsd{budget};
  return command;
}

std::vector<ledger::Record> Decoded(const ledger::RecordBuffer& buffer) {
  std::vector<ledger::Record> records;
  std::span<const std::uint8_t> bytes = buffer.bytes;
  for (std::uint32_t i = 0; i < buffer.count; ++i) records.push_back(*ledger::Decode(bytes));
  return records;
}

// Two keys, one capped: a call settled, one voided, one open with a checkpoint.
std::vector<ledger::Record> Story() {
  CreditControl machine;
  ledger::RecordBuffer records;
  machine.Admit(Ask(1, 1, 100, 1'000'000), kNow, records);
  machine.Admit(Ask(2, 1, 50, 1'000'000), kNow, records);
  machine.Admit(Ask(3, 2, 70, 0), kNow, records);
  machine.Settle({Request(1),
                  {.input_tokens = 80, .output_tokens = 30, .source = UsageSource::kProvider},
                  true},
                 kNow, records);
  machine.Settle({Request(2), {}, true}, kNow, records);
  machine.Checkpoint({Request(3), {.output_tokens = 5, .source = UsageSource::kCheckpoint}}, kNow,
                     records);
  return Decoded(records);
}

constexpr WalletId kWallet{{5, 5}};
GrantId Grant(std::uint64_t n) { return {{0x0193'0000'0000'0000 + n, n}}; }

// A wallet of quota tokens with four grants: one that a call outgrows into the next, one that is
// revoked and one that expires while a part of it is held.
std::vector<ledger::Record> WalletStory() {
  CreditControl machine;
  ledger::RecordBuffer records;
  const auto give = [&](std::uint64_t id, std::int64_t amount, Instant expires) {
    machine.Give({.grant = Grant(id),
                  .wallet = kWallet,
                  .amount = {amount},
                  .effective_at = kNow,
                  .expires_at = expires},
                 kNow, records);
  };
  const auto ask = [](std::uint64_t n, std::int64_t output, HoldMode mode) {
    AdmitCommand command = Ask(n, 1, output, 1'000'000'000);
    command.wallet = WalletUse{kWallet, {ledger::Unit::kQuotaToken, 2'000'000}, {}};
    command.idempotency = IdempotencyUse{{9, n}, {1, 1}};
    command.mode = mode;
    return command;
  };
  give(1, 1'000, kNow + Seconds(100));
  give(2, 2'000, kNow + Seconds(200));
  give(3, 3'000, ledger::kNoExpiry);
  give(4, 4'000, ledger::kNoExpiry);
  // 2 x (100 + 1,024) = 2,248 of the first two, and 2 x 500 more of the second and the third.
  machine.Admit(ask(1, 50'000, HoldMode::kAdaptive), kNow, records);
  machine.Extend({Request(1), 500}, kNow, records);
  machine.Revoke(Grant(3), kNow, records);
  const Instant later = kNow + Seconds(150);
  machine.Sweep(later, records);  // nothing of the first is free
  machine.Settle({Request(1),
                  {.input_tokens = 100, .output_tokens = 300, .source = UsageSource::kProvider},
                  true},
                 later, records);  // 800 of the first; 200 of it expire, the third goes back
  machine.Admit(ask(2, 100, HoldMode::kStrict), later, records);
  machine.Settle({Request(2), {}, true}, later, records);
  machine.Admit(ask(3, 40, HoldMode::kStrict), later, records);
  return Decoded(records);
}

// The first record of a kind; the story has one of each.
template <class Kind>
Kind& First(std::vector<ledger::Record>& records) {
  const auto found = std::ranges::find_if(
      records, [](const auto& one) { return std::holds_alternative<Kind>(one); });
  return std::get<Kind>(*found);
}

template <class Kind>
std::ptrdiff_t PlaceOf(const std::vector<ledger::Record>& records) {
  return std::ranges::find_if(records,
                              [](const auto& one) { return std::holds_alternative<Kind>(one); }) -
         records.begin();
}

// Sees the records, replays as far as the machine takes them, and compares.
LedgerAudit Audited(const std::vector<ledger::Record>& records) {
  LedgerAudit audit;
  CreditControl machine;
  bool whole = true;
  for (const auto& record : records) {
    audit.See(record);
    whole = whole && !machine.Replay(record);
  }
  if (whole) {
    audit.Compare(machine);
    audit.Resolve(machine, kNow);
  }
  return audit;
}

void ExpectBroken(const std::vector<ledger::Record>& records, std::string_view invariant,
                  const char* what) {
  const LedgerAudit audit = Audited(records);
  std::string names;
  for (const auto& violation : audit.violations()) names += std::string(violation.invariant) + " ";
  EXPECT_TRUE(std::ranges::any_of(audit.violations(),
                                  [&](const auto& one) { return one.invariant == invariant; }))
      << what << ": found " << names;
}

std::size_t LastIntent(const std::vector<ledger::Record>& records) {
  std::size_t last = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (std::holds_alternative<ledger::IntentRecord>(records[i])) last = i;
  }
  return last;
}

TEST(LedgerAudit, WhatTheMachineWrote_IsGood) {
  const LedgerAudit audit = Audited(Story());
  for (const auto& violation : audit.violations()) ADD_FAILURE() << violation.what;
  EXPECT_EQ(audit.records(), Story().size());
  const LedgerAudit of_wallets = Audited(WalletStory());
  for (const auto& violation : of_wallets.violations()) {
    ADD_FAILURE() << violation.invariant << " " << violation.what;
  }
  // Every kind of record is in it but a note, and what policies count (quota_audit_test).
  std::set<std::size_t> kinds;
  for (const auto& record : WalletStory()) kinds.insert(record.index());
  EXPECT_EQ(kinds.size(), std::variant_size_v<ledger::Record> - 4);
}

TEST(LedgerAudit, EachKindOfDamage_BreaksTheInvariantItIsAbout) {
  using Records = std::vector<ledger::Record>;
  struct Row {
    const char* what;
    const char* invariant;
    std::function<void(Records&)> damage;
  };
  const auto settle = First<ledger::SettleRecord>;
  const auto released = First<ledger::VoidRecord>;
  const auto intent = First<ledger::IntentRecord>;
  const auto fund = First<ledger::FundRecord>;
  const std::vector<Row> rows = {
      {"a budget that is too small", "I3",
       [&](Records& records) { fund(records).amount = NanoUsd{299'999}; }},
      {"a hold above the budget", "I3",
       [&](Records& records) { intent(records).hold = NanoUsd{1'000'001}; }},
      {"a settlement twice", "I4", [&](Records& records) { records.push_back(settle(records)); }},
      {"a void after a settlement", "I4",
       [&](Records& records) { released(records).request = Request(1); }},
      {"a settlement that was never admitted", "I4",
       [&](Records& records) { settle(records).request = Request(99); }},
      {"a settlement by another key", "I4",
       [&](Records& records) { settle(records).key = Key(2); }},
      {"a nano-dollar too much", "I5",
       [&](Records& records) { settle(records).charged = settle(records).charged + NanoUsd{1}; }},
      {"a nano-dollar too little", "I5",
       [&](Records& records) { settle(records).charged = settle(records).charged - NanoUsd{1}; }},
      {"more than was held", "I5",
       [&](Records& records) { settle(records).charged = NanoUsd{300'001}; }},
      {"a charge below zero", "I5",
       [&](Records& records) { settle(records).charged = NanoUsd{-1}; }},
      {"another usage", "I5", [&](Records& records) { ++settle(records).usage.output_tokens; }},
      {"a void of less than was held", "I5",
       [&](Records& records) { released(records).released = NanoUsd{1}; }},
      {"an id admitted twice", "I9", [&](Records& records) { records.push_back(intent(records)); }},
      {"another price than at admission", "I24",
       [&](Records& records) { ++settle(records).price_id; }},
      {"a price that no record has", "I24",
       [&](Records& records) {
         records.erase(records.begin() + PlaceOf<ledger::PriceRecord>(records));
       }},
      {"a price of other bytes", "I24",
       [&](Records& records) { First<ledger::PriceRecord>(records).bytes.back() ^= 1; }},
      {"a price written twice", "I9",
       [&](Records& records) { records.push_back(First<ledger::PriceRecord>(records)); }},
      {"an overrun within the bounds", "I26",
       [&](Records& records) {
         settle(records).charged = NanoUsd{0};
         settle(records).overrun = NanoUsd{140'000};
       }},
  };
  for (const Row& row : rows) {
    Records records = Story();
    row.damage(records);
    ExpectBroken(records, row.invariant, row.what);
  }
}

TEST(LedgerAudit, EachKindOfDamageToAWallet_BreaksTheInvariantItIsAbout) {
  using Records = std::vector<ledger::Record>;
  struct Row {
    const char* what;
    const char* invariant;
    std::function<void(Records&)> damage;
  };
  const auto intent = First<ledger::IntentRecord>;
  const auto extension = First<ledger::ExtendRecord>;
  const auto settle = First<ledger::SettleRecord>;
  const auto grant = First<ledger::GrantRecord>;
  const auto end = First<ledger::GrantEndRecord>;
  const std::vector<Row> rows = {
      {"a grant of less than is held of it", "I3",
       [&](Records& records) { grant(records).amount = {999}; }},
      {"a line of more than the grant", "I3",
       [&](Records& records) { intent(records).wallet->lines[1].amount = {2'001}; }},
      {"an extension above the balance", "I3",
       [&](Records& records) { extension(records).wallet->lines.back().amount = {3'001}; }},
      {"a grant given twice", "I9", [&](Records& records) { records.push_back(grant(records)); }},
      {"a grant of another unit than its wallet", "I19",
       [&](Records& records) {
         ledger::GrantRecord other = grant(records);
         other.grant = Grant(9);
         other.unit = ledger::Unit::kNanoUsd;
         records.push_back(other);
       }},
      {"a line of a grant that was never given", "I19",
       [&](Records& records) { intent(records).wallet->lines[0].grant = Grant(9); }},
      {"the grants the other way round", "I19",
       [&](Records& records) { std::ranges::reverse(intent(records).wallet->lines); }},
      {"a later grant before an earlier one is empty", "I19",
       [&](Records& records) { intent(records).wallet->lines[0].amount = {999}; }},
      {"a hold of a grant before its time", "I19",
       [&](Records& records) { grant(records).effective_at = kNow + Seconds(1); }},
      {"a hold of an expired grant", "I19",
       [&](Records& records) { grant(records).expires_at = kNow; }},
      {"a line of nothing", "I19",
       [&](Records& records) { extension(records).wallet->lines.back().amount = {0}; }},
      {"an expiry takes what is held", "I19",
       [&](Records& records) {
         records.insert(records.begin() + PlaceOf<ledger::GrantEndRecord>(records),
                        ledger::GrantEndRecord{
                            .time = kNow + Seconds(100), .grant = Grant(1), .removed = {1}});
       }},
      {"an expiry before its time", "I19",
       [&](Records& records) { end(records).reason = ledger::GrantEndReason::kExpired; }},
      {"an end of more than is left", "I19",
       [&](Records& records) { end(records).removed.n += 1; }},
      {"an end of less than nothing", "I19",
       [&](Records& records) { end(records).removed = {-1}; }},
      {"the end of a grant that was never given", "I19",
       [&](Records& records) { end(records).grant = Grant(9); }},
      {"a quota token too much", "I5",
       [&](Records& records) { ++settle(records).wallet->charged.n; }},
      {"a quota token too little", "I5",
       [&](Records& records) { --settle(records).wallet->charged.n; }},
      {"more than was held of the wallet", "I5",
       [&](Records& records) { settle(records).wallet->charged = {3'249}; }},
      {"a settlement that forgets the wallet", "I5",
       [&](Records& records) { settle(records).wallet.reset(); }},
      {"another multiplier than at admission", "I5",
       [&](Records& records) { intent(records).wallet->multiplier_ppm = 1'000'000; }},
      {"an extension of another wallet", "I5",
       [&](Records& records) { extension(records).wallet->wallet = {{6, 6}}; }},
      {"an extension by less than nothing", "I5",
       [&](Records& records) { extension(records).hold = NanoUsd{-1}; }},
      {"an extension that forgets the wallet", "I5",
       [&](Records& records) { extension(records).wallet.reset(); }},
      {"an extension of a request that ended", "I4",
       [&](Records& records) { records.push_back(extension(records)); }},
      {"the key of a request that was charged", "I10",
       [&](Records& records) {
         std::get<ledger::IntentRecord>(records[LastIntent(records)]).idempotency =
             intent(records).idempotency;
       }},
      {"the key of a request that is open", "I10",
       [&](Records& records) {
         ledger::IntentRecord again = std::get<ledger::IntentRecord>(records[LastIntent(records)]);
         again.request = Request(77);
         again.wallet.reset();
         records.push_back(again);
       }},
      {"an overrun of the wallet within the bounds", "I26",
       [&](Records& records) { settle(records).wallet = ledger::WalletCharge{{700}, {100}}; }},
  };
  for (const Row& row : rows) {
    Records records = WalletStory();
    row.damage(records);
    ExpectBroken(records, row.invariant, row.what);
  }
}

// A void, and a day, give a key back.
TEST(LedgerAudit, AnIdempotencyKeyThatIsFreeAgain_BreaksNothing) {
  for (const bool voided : {true, false}) {
    auto records = WalletStory();
    const ledger::IntentRecord first = First<ledger::IntentRecord>(records);
    auto& last = std::get<ledger::IntentRecord>(records[LastIntent(records)]);
    last.idempotency = voided ? IdempotencyUse{{9, 2}, {1, 1}} : *first.idempotency;
    if (!voided) last.time = first.time + IdempotencyTable::kLifetime;
    last.wallet.reset();  // its grants are over by then
    const LedgerAudit audit = Audited(records);
    for (const auto& violation : audit.violations()) ADD_FAILURE() << violation.what;
  }
}

// What holds, charges and ends do to a grant is in the machine's book: whoever burns or releases in
// another order than the records say does not come to the same.
TEST(LedgerAudit, MachineThatMissedARecordOfAGrant_DoesNotAgree) {
  const auto records = WalletStory();
  std::size_t ends = 0;
  for (std::size_t missed = 0; missed < records.size(); ++missed) {
    if (!std::holds_alternative<ledger::GrantEndRecord>(records[missed])) continue;
    ++ends;
    LedgerAudit audit;
    CreditControl machine;
    bool whole = true;
    for (std::size_t i = 0; i < records.size(); ++i) {
      audit.See(records[i]);
      if (i != missed) whole = whole && !machine.Replay(records[i]);
    }
    ASSERT_TRUE(whole);
    audit.Compare(machine);
    std::string names;
    for (const auto& violation : audit.violations()) names += violation.invariant;
    EXPECT_TRUE(names.starts_with("I2I11")) << names;
  }
  EXPECT_GE(ends, 3U);
}

// Journals of versions 1 and 2 have their prices in every record; a start may resolve in version 3.
TEST(LedgerAudit, RecordsOfOlderVersions_AreJudgedByThePriceInThem) {
  const ledger::PinnedPrice pinned{.version = 4,
                                   .input = kPrice.input,
                                   .cached_input = kPrice.cached_input,
                                   .cache_write = kPrice.cache_write,
                                   .output = kPrice.output,
                                   .per_request = kPrice.per_request};
  auto records = Story();
  std::erase_if(records,
                [](const auto& one) { return std::holds_alternative<ledger::PriceRecord>(one); });
  for (auto& record : records) {
    if (auto* intent = std::get_if<ledger::IntentRecord>(&record)) {
      intent->price_id = 0;
      intent->price = pinned;
    } else if (auto* settle = std::get_if<ledger::SettleRecord>(&record)) {
      settle->price_id = 0;
      settle->price = pinned;
    }
  }
  EXPECT_EQ(Audited(records).violation_count(), 0U);
  auto in_version_3 = records;
  First<ledger::SettleRecord>(in_version_3).price_id = config::IdOf(kPrice).n;
  First<ledger::SettleRecord>(in_version_3).price = {};
  EXPECT_EQ(Audited(in_version_3).violation_count(), 0U);
  First<ledger::SettleRecord>(records).price.version = 5;
  ExpectBroken(records, "I24", "another price than at admission");
}

TEST(LedgerAudit, MachineThatMissedARecord_DoesNotAgree) {
  const auto records = Story();
  for (std::size_t missed = records.size() - 3; missed < records.size() - 1; ++missed) {
    LedgerAudit audit;
    CreditControl machine;
    for (std::size_t i = 0; i < records.size(); ++i) {
      audit.See(records[i]);
      if (i != missed) {
        ASSERT_EQ(machine.Replay(records[i]), std::nullopt);
      }
    }
    audit.Compare(machine);
    std::string names;
    for (const auto& violation : audit.violations()) names += violation.invariant;
    EXPECT_TRUE(names.starts_with("I2I11")) << missed << names;
  }
}

TEST(LedgerAudit, ManyViolations_AreCountedAndTheFirstKept) {
  LedgerAudit audit;
  for (std::uint64_t n = 0; n < 500; ++n) {
    audit.See(ledger::VoidRecord{.request = Request(n), .key = Key(1)});
  }
  EXPECT_EQ(audit.violation_count(), 500U);
  EXPECT_EQ(audit.violations().size(), LedgerAudit::kViolationsKept);
  EXPECT_EQ(audit.violations().front().position, 1U);
}

// Whatever the machine is told, its journal passes.
TEST(LedgerAudit, RandomRuns_AreGood) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SeededRandom random(seed);
    const auto below = [&](std::uint64_t bound) { return random.Next() % bound; };
    CreditControl machine;
    Instant now = kNow;
    ledger::RecordBuffer buffer;
    std::vector<std::uint64_t> open;
    for (std::uint64_t n = 1; n <= 400; ++n) {
      const auto key = 1 + below(5);
      // Budgets move up and down, and with key 5 there is none.
      const auto budget = static_cast<std::int64_t>(key == 5 ? 0 : 400'000 + below(900'000));
      const auto output = static_cast<std::int64_t>(1 + below(200));
      now = now + Milliseconds(static_cast<std::int64_t>(below(500)));
      AdmitCommand command = Ask(n, key, output, budget);
      if (const auto wallet = below(4); wallet < 3) {
        const auto unit = static_cast<ledger::Unit>(wallet % 2);
        command.wallet = WalletUse{WalletId{{5, wallet}}, {unit, 1'500'000}, {}};
        if (below(3) == 0) {
          machine.Give({.grant = Grant(n),
                        .wallet = command.wallet->wallet,
                        .unit = unit,
                        .amount = {static_cast<std::int64_t>(
                            below(unit == ledger::Unit::kNanoUsd ? 900'000 : 900))},
                        .priority = static_cast<std::int32_t>(below(2)),
                        .effective_at = now,
                        .expires_at = now + Seconds(static_cast<std::int64_t>(below(60)))},
                       now, buffer);
        }
      }
      if (below(3) == 0) command.idempotency = IdempotencyUse{{1, below(30)}, {1, below(2)}};
      if (below(3) == 0) command.mode = HoldMode::kAdaptive;
      if (below(9) == 0) machine.Revoke(Grant(below(n)), now, buffer);
      if (below(9) == 0) machine.Sweep(now, buffer);
      const AdmitReply reply = machine.Admit(command, now, buffer);
      if (reply.refusal == Refusal::kNone && !reply.replay) open.push_back(n);
      if (open.empty() || below(3) == 0) continue;
      const std::size_t at = below(open.size());
      const Usage usage{.input_tokens = static_cast<std::int64_t>(below(150)),
                        .output_tokens = static_cast<std::int64_t>(below(250)),
                        .source = static_cast<UsageSource>(below(4))};
      if (below(4) == 0) {
        machine.Checkpoint({Request(open[at]), usage}, now, buffer);
        continue;
      }
      if (below(4) == 0) {
        machine.Extend({Request(open[at]), 100}, now, buffer);
        continue;
      }
      machine.Settle({Request(open[at]), usage, below(5) != 0}, now, buffer);
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
    }
    const LedgerAudit audit = Audited(Decoded(buffer));
    for (const auto& violation : audit.violations()) {
      ADD_FAILURE() << "seed " << seed << ": " << violation.invariant << " at "
                    << violation.position << ": " << violation.what;
    }
  }
}

}  // namespace
}  // namespace weir::gateway
