// The auditor agrees with every journal the machine writes, and names the one invariant that each
// kind of damage breaks. The damage is done to records, because that is where it would come from.
#include "gateway/ledger_audit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
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

// The first record of a kind; the story has one of each.
template <class Kind>
Kind& First(std::vector<ledger::Record>& records) {
  const auto found = std::ranges::find_if(
      records, [](const auto& one) { return std::holds_alternative<Kind>(one); });
  return std::get<Kind>(*found);
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

TEST(LedgerAudit, WhatTheMachineWrote_IsGood) {
  const LedgerAudit audit = Audited(Story());
  for (const auto& violation : audit.violations()) ADD_FAILURE() << violation.what;
  EXPECT_EQ(audit.records(), Story().size());
  EXPECT_EQ(audit.unknown_records(), 0U);
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
       [&](Records& records) { settle(records).price.version = 5; }},
      {"an overrun within the bounds", "I26",
       [&](Records& records) {
         settle(records).charged = NanoUsd{0};
         settle(records).overrun = NanoUsd{140'000};
       }},
  };
  for (const Row& row : rows) {
    Records records = Story();
    row.damage(records);
    const LedgerAudit audit = Audited(records);
    bool named = false;
    for (const auto& violation : audit.violations()) {
      named = named || violation.invariant == row.invariant;
    }
    EXPECT_TRUE(named) << row.what << ": "
                       << (audit.violations().empty() ? "nothing was found"
                                                      : audit.violations().front().what);
  }
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
    EXPECT_EQ(names, "I2I11") << missed;
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
    ledger::RecordBuffer buffer;
    std::vector<std::uint64_t> open;
    for (std::uint64_t n = 1; n <= 400; ++n) {
      const auto key = 1 + below(5);
      // Budgets move up and down, and with key 5 there is none.
      const auto budget = static_cast<std::int64_t>(key == 5 ? 0 : 400'000 + below(900'000));
      const auto output = static_cast<std::int64_t>(1 + below(200));
      if (machine.Admit(Ask(n, key, output, budget), kNow, buffer).refusal == Refusal::kNone) {
        open.push_back(n);
      }
      if (open.empty() || below(3) == 0) continue;
      const std::size_t at = below(open.size());
      const Usage usage{.input_tokens = static_cast<std::int64_t>(below(150)),
                        .output_tokens = static_cast<std::int64_t>(below(250)),
                        .source = static_cast<UsageSource>(below(4))};
      if (below(4) == 0) {
        machine.Checkpoint({Request(open[at]), usage}, kNow, buffer);
        continue;
      }
      machine.Settle({Request(open[at]), usage, below(5) != 0}, kNow, buffer);
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
