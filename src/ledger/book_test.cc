// The book against its rules: every status with the value that just trips it, in the order in which
// checks win, and a long random run against books kept by hand.
#include "ledger/book.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "base/random.h"

namespace weir::ledger {

// Does to a book what none of its functions does.
struct BookVandal {
  Book& book;
  Account& At(AccountIndex account) { return book.accounts_[account.n]; }
  void Store(const TransferId& id, const Transfer& transfer, bool open) {
    book.transfers_.Insert(id, {transfer, open ? Book::State::kOpen : Book::State::kDone});
    if (open) ++book.pending_count_;
  }
  void Miscount() { ++book.pending_count_; }
};

namespace {

using enum TransferStatus;

// A book with an account of each kind that a key's request touches.
struct Desk {
  Book book{{.settled_transfers_remembered = 64}};
  AccountIndex source = book.Open({AccountKind::kSource, {}}, false);
  AccountIndex revenue = book.Open({AccountKind::kRevenue, {}}, false);
  AccountIndex key = book.Open({AccountKind::kKey, {0, 7}}, true);

  static TransferId Id(std::uint64_t n, std::uint32_t leg = 0) { return {{n, 1}, leg}; }
  Transfer Fund(std::uint64_t n, std::int64_t amount) const {
    return {Id(n), TransferKind::kSingle, {}, source, key, {amount}};
  }
  Transfer Hold(std::uint64_t n, std::int64_t amount) const {
    return {Id(n), TransferKind::kPending, {}, key, revenue, {amount}};
  }
  Transfer Post(std::uint64_t n, std::int64_t amount) const {
    return {Id(n, 1), TransferKind::kPost, Id(n), key, revenue, {amount}};
  }
  Transfer Void(std::uint64_t n, std::int64_t amount) const {
    return {Id(n, 2), TransferKind::kVoid, Id(n), key, revenue, {amount}};
  }
};

struct BookTest : testing::Test, Desk {
  void ExpectUnchanged(const Transfer& transfer, TransferStatus status) {
    const Account before[] = {book.Get(source), book.Get(revenue), book.Get(key)};
    EXPECT_EQ(Name(book.Create(transfer)), Name(status));
    for (const auto& [index, was] :
         {std::pair{source, before[0]}, {revenue, before[1]}, {key, before[2]}}) {
      const Account& is = book.Get(index);
      EXPECT_TRUE(
          is.debits_pending == was.debits_pending && is.debits_posted == was.debits_posted &&
          is.credits_pending == was.credits_pending && is.credits_posted == was.credits_posted)
          << "account " << index.n;
    }
    EXPECT_EQ(book.CheckInvariants(), std::nullopt);
  }
};

TEST_F(BookTest, Hold_ExactlyWhatIsLeft_Fits_OneMore_DoesNot) {
  ASSERT_EQ(book.Create(Fund(1, 100)), kCreated);
  ASSERT_EQ(book.Create(Hold(2, 60)), kCreated);
  ExpectUnchanged(Hold(5, 41), kExceedsCredits);
  EXPECT_EQ(book.Create(Hold(3, 40)), kCreated);
  ExpectUnchanged(Hold(4, 1), kExceedsCredits);
  EXPECT_EQ(book.Create(Hold(6, 0)), kCreated);  // nothing always fits
}

TEST_F(BookTest, Post_LessThanHeld_ReleasesTheRest) {
  ASSERT_EQ(book.Create(Fund(1, 100)), kCreated);
  ASSERT_EQ(book.Create(Hold(2, 60)), kCreated);
  EXPECT_EQ(book.Create(Post(2, 25)), kCreated);
  EXPECT_EQ(book.Get(key).debits_pending, 0);
  EXPECT_EQ(book.Get(key).debits_posted, 25);
  EXPECT_EQ(book.Get(key).available(), 75);
  EXPECT_EQ(book.pending_count(), 0U);
  EXPECT_EQ(book.CheckInvariants(), std::nullopt);
}

TEST_F(BookTest, Void_ReleasesEverything) {
  ASSERT_EQ(book.Create(Fund(1, 100)), kCreated);
  ASSERT_EQ(book.Create(Hold(2, 100)), kCreated);
  EXPECT_EQ(book.Create(Void(2, 100)), kCreated);
  EXPECT_EQ(book.Get(key).available(), 100);
  EXPECT_EQ(book.Get(revenue).credits_pending, 0);
  EXPECT_EQ(book.account_count(), 3U);
}

TEST_F(BookTest, Create_SameIdTwice_ExistsOrDiffers_WithoutEffect) {
  ASSERT_EQ(book.Create(Fund(1, 100)), kCreated);
  ASSERT_EQ(book.Create(Hold(2, 60)), kCreated);
  ExpectUnchanged(Fund(1, 100), kExists);
  ExpectUnchanged(Fund(1, 101), kExistsWithDifferentContent);
  ExpectUnchanged(Hold(2, 60), kExists);
  ExpectUnchanged(Hold(2, 59), kExistsWithDifferentContent);
  ASSERT_EQ(book.Create(Post(2, 10)), kCreated);
  ExpectUnchanged(Hold(2, 60), kExists);  // also after it was resolved
  ExpectUnchanged(Post(2, 10), kExists);
}

TEST_F(BookTest, Create_WrongInEveryWay_AnswersTheFirstReason) {
  ASSERT_EQ(book.Create(Fund(1, 100)), kCreated);
  ASSERT_EQ(book.Create(Hold(2, 60)), kCreated);
  // Each row repairs what the row before it was refused for and is wrong in all that comes after.
  Transfer bad{{}, TransferKind::kSingle, Id(9), {99}, {99}, {-1}};
  ExpectUnchanged(bad, kIdMustNotBeEmpty);
  bad.id = Id(10);
  ExpectUnchanged(bad, kAmountOutOfRange);
  bad.amount = {kMaxNanoUsd.n + 1};
  ExpectUnchanged(bad, kAmountOutOfRange);
  bad.amount = kMaxAmount;
  ExpectUnchanged(bad, kDebitAccountNotFound);
  bad.debit = key;
  ExpectUnchanged(bad, kCreditAccountNotFound);
  bad.credit = key;
  ExpectUnchanged(bad, kAccountsMustBeDifferent);
  bad.credit = book.Open({AccountKind::kRevenue, {}, Unit::kQuotaToken}, false);
  ExpectUnchanged(bad, kAccountsHaveDifferentUnits);
  bad.credit = book.Open({AccountKind::kBreakage, {}}, false);
  ExpectUnchanged(bad, kFlowNotAllowed);
  bad.credit = revenue;
  ExpectUnchanged(bad, kPendingMustBeEmpty);
  bad.pending = {{}, 1};  // a leg alone is not empty either
  ExpectUnchanged(bad, kPendingMustBeEmpty);
  bad.pending = {};
  ExpectUnchanged(bad, kExceedsCredits);
  ExpectUnchanged(bad, kIdAlreadyFailed);

  Transfer resolve{Id(11), TransferKind::kPost, Id(9), source, key, {61}};
  ExpectUnchanged(resolve, kPendingNotFound);
  resolve.pending = Id(1);
  ExpectUnchanged(resolve, kPendingIsNotPending);
  resolve.pending = Id(2);
  ExpectUnchanged(resolve, kPendingHasOtherAccounts);
  resolve.debit = key;
  resolve.credit = source;
  ExpectUnchanged(resolve, kPendingHasOtherAccounts);
  resolve.credit = revenue;
  ExpectUnchanged(resolve, kExceedsPendingAmount);
  resolve.amount = {60};
  EXPECT_EQ(book.Create(resolve), kCreated);
  ExpectUnchanged(Void(2, 60), kPendingAlreadyPosted);
  ExpectUnchanged(Post(2, 60), kPendingAlreadyPosted);

  ASSERT_EQ(book.Create(Hold(3, 40)), kCreated);
  ExpectUnchanged(Void(3, 39), kPendingHasOtherAmount);
  ASSERT_EQ(book.Create(Void(3, 40)), kCreated);
  ExpectUnchanged(Post(3, 1), kPendingAlreadyVoided);
}

// An id that was refused once must not succeed because credits came in the meantime: whoever sent
// it was told no.
TEST_F(BookTest, RefusedForLackOfCredits_StaysRefused) {
  ASSERT_EQ(book.Create(Fund(1, 10)), kCreated);
  ASSERT_EQ(book.Create(Hold(2, 11)), kExceedsCredits);
  ASSERT_EQ(book.Create(Fund(3, 10)), kCreated);
  ExpectUnchanged(Hold(2, 11), kIdAlreadyFailed);
  ExpectUnchanged(Hold(2, 1), kIdAlreadyFailed);
  EXPECT_EQ(book.Create(Hold(4, 11)), kCreated);
}

TEST(Chart, OnlyTheNamedFlows_AreAllowed) {
  using enum AccountKind;
  const std::pair<AccountKind, AccountKind> allowed[] = {
      {kSource, kKey},   {kSource, kGrant},  {kKey, kSource},     {kKey, kRevenue},
      {kGrant, kSource}, {kGrant, kRevenue}, {kGrant, kBreakage}, {kOverrun, kRevenue}};
  const AccountKind kinds[] = {kKey, kSource, kRevenue, kOverrun, kGrant, kBreakage};
  for (const AccountKind debit : kinds) {
    for (const AccountKind credit : kinds) {
      const bool named = std::ranges::find(allowed, std::pair(debit, credit)) != std::end(allowed);
      EXPECT_EQ(FlowAllowed(debit, credit), named) << Name(debit) << " -> " << Name(credit);
    }
  }
}

TEST(Chart, AKindThatIsNone_MayDoNothing) {
  EXPECT_FALSE(FlowAllowed(AccountKind{0}, AccountKind::kKey));
  EXPECT_FALSE(FlowAllowed(AccountKind::kSource, AccountKind{0}));
}

TEST(Names, EachIsItsOwn_AndWhatIsNone_IsUnknown) {
  std::set<std::string_view> names;
  for (int n = 0; n <= static_cast<int>(kIdAlreadyFailed); ++n) {
    EXPECT_TRUE(names.insert(Name(static_cast<TransferStatus>(n))).second) << n;
  }
  for (const AccountKind kind :
       {AccountKind::kKey, AccountKind::kSource, AccountKind::kRevenue, AccountKind::kOverrun,
        AccountKind::kGrant, AccountKind::kBreakage}) {
    EXPECT_TRUE(names.insert(Name(kind)).second);
  }
  EXPECT_TRUE(names.insert(Name(Unit::kNanoUsd)).second);
  EXPECT_TRUE(names.insert(Name(Unit::kQuotaToken)).second);
  EXPECT_FALSE(names.contains("unknown"));
  EXPECT_EQ(Name(TransferStatus{255}), "unknown");
  EXPECT_EQ(Name(AccountKind{0}), "unknown");
  EXPECT_EQ(Name(Unit{kUnitMax + 1}), "unknown");
}

TEST(Amounts, ASumThatIsTooLarge_IsShownAsTheLargest_EitherWay) {
  EXPECT_EQ(Clipped(Sum{kMaxAmount.n}), kMaxAmount);
  EXPECT_EQ(Clipped(Sum{kMaxAmount.n} + 1), kMaxAmount);
  EXPECT_EQ(Clipped(-Sum{kMaxAmount.n}), Amount{-kMaxAmount.n});
  EXPECT_EQ(Clipped(-Sum{kMaxAmount.n} - 1), Amount{-kMaxAmount.n});
  EXPECT_EQ(Clipped(7) + Clipped(-9) - Amount{1}, Amount{-3});
}

// Each invariant, broken in each way it can be: the sentence names it, and an account by its
// number.
struct Breakage {
  const char* how;
  void (*damage)(BookVandal, const Desk&);
  const char* found;
};

TEST_F(BookTest, CheckInvariants_FindsEachThatIsBroken) {
  const Breakage rows[] = {
      {"nothing", [](BookVandal, const Desk&) {}, ""},
      {"a transfer under an id that is not its own",
       [](BookVandal vandal, const Desk& desk) { vandal.Store(Id(8), desk.Fund(9, 1), false); },
       "I4: a transfer is stored under another id"},
      {"a single transfer that is open",
       [](BookVandal vandal, const Desk& desk) { vandal.Store(Id(9), desk.Fund(9, 1), true); },
       "I4: only a pending may be open"},
      {"one more open than there is", [](BookVandal vandal, const Desk&) { vandal.Miscount(); },
       "I4: the count of open transfers is wrong"},
      {"a negative pending debit",
       [](BookVandal vandal, const Desk& desk) { vandal.At(desk.key).debits_pending = -1; },
       "I5: account 2 has a negative balance"},
      {"a negative posted debit",
       [](BookVandal vandal, const Desk& desk) { vandal.At(desk.key).debits_posted = -1; },
       "I5: account 2 has a negative balance"},
      {"a negative pending credit",
       [](BookVandal vandal, const Desk& desk) { vandal.At(desk.key).credits_pending = -1; },
       "I5: account 2 has a negative balance"},
      {"a negative posted credit",
       [](BookVandal vandal, const Desk& desk) { vandal.At(desk.source).credits_posted = -1; },
       "I5: account 0 has a negative balance"},
      {"an account that owes and must not",
       [](BookVandal vandal, const Desk& desk) {
         vandal.At(desk.source).debits_must_not_exceed_credits = true;
       },
       "I3: the debits of account 0 exceed its credits"},
      {"a pending debit without its transfer",
       [](BookVandal vandal, const Desk& desk) { ++vandal.At(desk.key).debits_pending; },
       "I2: the pending balances of account 2 are not its open transfers"},
      {"a pending credit without its transfer",
       [](BookVandal vandal, const Desk& desk) { ++vandal.At(desk.revenue).credits_pending; },
       "I2: the pending balances of account 1 are not its open transfers"},
      {"a transfer from one unit to another",
       [](BookVandal vandal, const Desk& desk) {
         const AccountIndex tokens =
             vandal.book.Open({AccountKind::kRevenue, {}, Unit::kQuotaToken}, false);
         Transfer across = desk.Hold(9, 1);
         across.credit = tokens;
         vandal.Store(across.id, across, true);
         ++vandal.At(desk.key).debits_pending;
         ++vandal.At(tokens).credits_pending;
       },
       "I1: pending debits and credits differ"},
      {"money from nowhere",
       [](BookVandal vandal, const Desk& desk) { ++vandal.At(desk.key).credits_posted; },
       "I1: posted debits and credits differ"},
  };
  for (const Breakage& row : rows) {
    Desk desk;
    ASSERT_EQ(desk.book.Create(Fund(1, 100)), kCreated);
    ASSERT_EQ(desk.book.Create(Hold(2, 60)), kCreated);
    ASSERT_EQ(desk.book.Create(Hold(3, 10)), kCreated);
    ASSERT_EQ(desk.book.Create(Post(3, 10)), kCreated);
    row.damage({desk.book}, desk);
    EXPECT_EQ(desk.book.CheckInvariants().value_or(""), row.found) << row.how;
  }
}

TEST_F(BookTest, SetRule_OnAnAccountThatOwes_IsRefused) {
  ASSERT_TRUE(book.SetRule(key, false));
  ASSERT_EQ(book.Create(Hold(2, 60)), kCreated);
  EXPECT_FALSE(book.SetRule(key, true));
  EXPECT_FALSE(book.Get(key).debits_must_not_exceed_credits);
  ASSERT_EQ(book.Create(Fund(3, 60)), kCreated);
  EXPECT_TRUE(book.SetRule(key, true));
}

TEST_F(BookTest, Amounts_OfTheLargestKind_NeverOverflow) {
  ASSERT_TRUE(book.SetRule(key, false));
  for (std::uint64_t n = 1; n <= 100; ++n) {
    ASSERT_EQ(book.Create(Hold(n, kMaxNanoUsd.n)), kCreated);
    ASSERT_EQ(book.Create(Post(n, kMaxNanoUsd.n)), kCreated);
  }
  EXPECT_EQ(book.Get(revenue).credits_posted, Sum{kMaxNanoUsd.n} * 100);
  EXPECT_EQ(Saturated(book.Get(revenue).credits_posted), kMaxNanoUsd);
  EXPECT_EQ(book.CheckInvariants(), std::nullopt);
}

TEST_F(BookTest, Settled_BeyondTheMemory_AreForgotten_OpenOnesNever) {
  ASSERT_EQ(book.Create(Fund(1, 1'000'000)), kCreated);
  ASSERT_EQ(book.Create(Hold(2, 5)), kCreated);
  for (std::uint64_t n = 100; n < 300; ++n) {
    ASSERT_EQ(book.Create(Hold(n, 3)), kCreated);
    ASSERT_EQ(book.Create(Post(n, 3)), kCreated);
  }
  ExpectUnchanged(Post(100, 3), kPendingNotFound);
  ExpectUnchanged(Post(299, 3), kExists);
  EXPECT_EQ(book.Create(Post(2, 5)), kCreated);
}

// A plain model of the same rules beside the book, over thousands of random transfers of which many
// are wrong: status and balances agree at every step.
TEST_F(BookTest, RandomTransfers_AgreeWithAModel) {
  struct Open {
    std::int64_t amount;
  };
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SeededRandom random(seed);
    Book subject({.settled_transfers_remembered = 1 << 11});
    const AccountIndex from = subject.Open({AccountKind::kSource, {}}, false);
    const AccountIndex to = subject.Open({AccountKind::kRevenue, {}}, false);
    const AccountIndex wallet = subject.Open({AccountKind::kKey, {0, seed}}, true);
    std::map<std::uint64_t, Open> open;
    std::int64_t credits = 0, pending = 0, posted = 0;
    for (std::uint64_t step = 1; step <= 1000; ++step) {
      const auto amount = static_cast<std::int64_t>(random.Next() % 100);
      TransferStatus expected = kCreated;
      Transfer transfer{Id(step), TransferKind::kSingle, {}, from, wallet, {amount}};
      const std::uint64_t pick = 1 + random.Next() % step;
      const auto held = open.find(pick);
      switch (random.Next() % 4) {
        case 0:
          credits += amount;
          break;
        case 1:
          transfer.kind = TransferKind::kPending;
          transfer.debit = wallet;
          transfer.credit = to;
          if (pending + posted + amount > credits) {
            expected = kExceedsCredits;
          } else {
            pending += amount;
            open[step] = {amount};
          }
          break;
        default:
          if (held == open.end()) continue;
          transfer = {Id(step), TransferKind::kPost, Id(pick), wallet, to, {amount}};
          if (amount > held->second.amount) {
            expected = kExceedsPendingAmount;
          } else {
            pending -= held->second.amount;
            posted += amount;
            open.erase(held);
          }
      }
      ASSERT_EQ(Name(subject.Create(transfer)), Name(expected)) << "seed " << seed;
      const Account& account = subject.Get(wallet);
      ASSERT_TRUE(account.credits_posted == credits && account.debits_pending == pending &&
                  account.debits_posted == posted)
          << "seed " << seed << " step " << step;
      ASSERT_EQ(subject.CheckInvariants(), std::nullopt);
      ASSERT_EQ(subject.pending_count(), open.size());
    }
  }
}

}  // namespace
}  // namespace weir::ledger
