#include "ledger/book.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace weir::ledger {
namespace {

constexpr bool IsEmpty(const TransferId& id) { return id.owner.empty() && id.leg == 0; }

}  // namespace

std::string_view Name(TransferStatus status) {
  switch (status) {
    case TransferStatus::kCreated:
      return "created";
    case TransferStatus::kExists:
      return "exists";
    case TransferStatus::kExistsWithDifferentContent:
      return "exists_with_different_content";
    case TransferStatus::kIdMustNotBeEmpty:
      return "id_must_not_be_empty";
    case TransferStatus::kAmountOutOfRange:
      return "amount_out_of_range";
    case TransferStatus::kDebitAccountNotFound:
      return "debit_account_not_found";
    case TransferStatus::kCreditAccountNotFound:
      return "credit_account_not_found";
    case TransferStatus::kAccountsMustBeDifferent:
      return "accounts_must_be_different";
    case TransferStatus::kAccountsHaveDifferentUnits:
      return "accounts_have_different_units";
    case TransferStatus::kFlowNotAllowed:
      return "flow_not_allowed";
    case TransferStatus::kPendingMustBeEmpty:
      return "pending_must_be_empty";
    case TransferStatus::kPendingNotFound:
      return "pending_not_found";
    case TransferStatus::kPendingIsNotPending:
      return "pending_is_not_pending";
    case TransferStatus::kPendingHasOtherAccounts:
      return "pending_has_other_accounts";
    case TransferStatus::kPendingAlreadyPosted:
      return "pending_already_posted";
    case TransferStatus::kPendingAlreadyVoided:
      return "pending_already_voided";
    case TransferStatus::kExceedsPendingAmount:
      return "exceeds_pending_amount";
    case TransferStatus::kPendingHasOtherAmount:
      return "pending_has_other_amount";
    case TransferStatus::kExceedsCredits:
      return "exceeds_credits";
    case TransferStatus::kIdAlreadyFailed:
      return "id_already_failed";
  }
  return "unknown";
}

Book::Book(Options options)
    // Twice what is remembered, so that open transfers in usual numbers never make it grow.
    : transfers_(options.settled_transfers_remembered * 2),
      settled_max_(std::max<std::size_t>(options.settled_transfers_remembered, 1)) {
  accounts_.reserve(options.accounts_expected);
  settled_.reserve(settled_max_);
}

AccountIndex Book::Open(const AccountId& id, bool debits_must_not_exceed_credits) {
  CHECK(accounts_.size() < UINT32_MAX, "an account index has 32 bits");
  const AccountIndex index{static_cast<std::uint32_t>(accounts_.size())};
  accounts_.push_back({.id = id, .debits_must_not_exceed_credits = debits_must_not_exceed_credits});
  return index;
}

bool Book::SetRule(AccountIndex account, bool debits_must_not_exceed_credits) {
  Account& subject = accounts_.at(account.n);
  if (debits_must_not_exceed_credits && subject.available() < 0) return false;
  subject.debits_must_not_exceed_credits = debits_must_not_exceed_credits;
  return true;
}

TransferStatus Book::Create(const Transfer& transfer) {
  using enum TransferStatus;
  if (const Entry* known = transfers_.Find(transfer.id)) {
    if (known->state == State::kBurned) return kIdAlreadyFailed;
    return known->transfer == transfer ? kExists : kExistsWithDifferentContent;
  }
  if (IsEmpty(transfer.id)) return kIdMustNotBeEmpty;
  if (transfer.amount < Amount{0} || transfer.amount > kMaxAmount) return kAmountOutOfRange;
  if (transfer.debit.n >= accounts_.size()) return kDebitAccountNotFound;
  if (transfer.credit.n >= accounts_.size()) return kCreditAccountNotFound;
  if (transfer.debit == transfer.credit) return kAccountsMustBeDifferent;
  const AccountId& debit = accounts_[transfer.debit.n].id;
  const AccountId& credit = accounts_[transfer.credit.n].id;
  if (debit.unit != credit.unit) return kAccountsHaveDifferentUnits;
  if (!FlowAllowed(debit.kind, credit.kind)) return kFlowNotAllowed;
  switch (transfer.kind) {
    case TransferKind::kSingle:
    case TransferKind::kPending:
      return CreateUnresolved(transfer);
    case TransferKind::kPost:
    case TransferKind::kVoid:
      return Resolve(transfer);
  }
  CHECK(false, "TransferKind is closed: a transfer is made by our code");
}

TransferStatus Book::CreateUnresolved(const Transfer& transfer) {
  if (!IsEmpty(transfer.pending)) return TransferStatus::kPendingMustBeEmpty;
  Account& debit = accounts_[transfer.debit.n];
  Account& credit = accounts_[transfer.credit.n];
  if (debit.debits_must_not_exceed_credits && transfer.amount.n > debit.available()) {
    // Burned: what was refused once must not succeed when it is sent again later.
    transfers_.Insert(transfer.id, {transfer, State::kBurned});
    Remember(transfer.id);
    return TransferStatus::kExceedsCredits;
  }
  if (transfer.kind == TransferKind::kPending) {
    debit.debits_pending += transfer.amount.n;
    credit.credits_pending += transfer.amount.n;
    transfers_.Insert(transfer.id, {transfer, State::kOpen});
    ++pending_count_;
  } else {
    debit.debits_posted += transfer.amount.n;
    credit.credits_posted += transfer.amount.n;
    transfers_.Insert(transfer.id, {transfer, State::kDone});
    Remember(transfer.id);
  }
  return TransferStatus::kCreated;
}

TransferStatus Book::Resolve(const Transfer& transfer) {
  using enum TransferStatus;
  Entry* held = transfers_.Find(transfer.pending);
  if (held == nullptr) return kPendingNotFound;
  if (held->transfer.kind != TransferKind::kPending) return kPendingIsNotPending;
  if (held->transfer.debit != transfer.debit || held->transfer.credit != transfer.credit) {
    return kPendingHasOtherAccounts;
  }
  if (held->state == State::kPosted) return kPendingAlreadyPosted;
  if (held->state == State::kVoided) return kPendingAlreadyVoided;
  const Amount amount = held->transfer.amount;
  const bool post = transfer.kind == TransferKind::kPost;
  if (post && transfer.amount > amount) return kExceedsPendingAmount;
  if (!post && transfer.amount != amount) return kPendingHasOtherAmount;

  held->state = post ? State::kPosted : State::kVoided;
  Account& debit = accounts_[transfer.debit.n];
  Account& credit = accounts_[transfer.credit.n];
  debit.debits_pending -= amount.n;
  credit.credits_pending -= amount.n;
  if (post) {
    debit.debits_posted += transfer.amount.n;
    credit.credits_posted += transfer.amount.n;
  }
  --pending_count_;
  transfers_.Insert(transfer.id, {transfer, State::kDone});  // `held` is invalid from here
  Remember(transfer.pending);
  Remember(transfer.id);
  return kCreated;
}

void Book::Remember(const TransferId& id) {
  if (settled_.size() < settled_max_) {
    settled_.push_back(id);
    return;
  }
  transfers_.Erase(settled_[settled_next_]);
  settled_[settled_next_] = id;
  settled_next_ = (settled_next_ + 1) % settled_max_;
}

std::optional<std::string> Book::CheckInvariants() const {
  struct Sums {
    Sum debits_pending = 0, debits_posted = 0, credits_pending = 0, credits_posted = 0;
  };
  std::array<Sums, kUnitMax + 1> sums{};
  std::vector<Account> pending(accounts_.size());
  std::size_t open = 0;
  std::optional<std::string> broken;
  transfers_.ForEach([&](const TransferId& id, const Entry& entry) {
    if (!(entry.transfer.id == id)) broken = "I4: a transfer is stored under another id";
    if (entry.state != State::kOpen) return;
    if (entry.transfer.kind != TransferKind::kPending) broken = "I4: only a pending may be open";
    ++open;
    pending[entry.transfer.debit.n].debits_pending += entry.transfer.amount.n;
    pending[entry.transfer.credit.n].credits_pending += entry.transfer.amount.n;
  });
  if (broken) return broken;
  if (open != pending_count_) return "I4: the count of open transfers is wrong";
  for (std::size_t i = 0; i < accounts_.size(); ++i) {
    const Account& account = accounts_[i];
    const std::string name = "account " + std::to_string(i);
    if (account.debits_pending < 0 || account.debits_posted < 0 || account.credits_pending < 0 ||
        account.credits_posted < 0) {
      return "I5: " + name + " has a negative balance";
    }
    if (account.debits_must_not_exceed_credits && account.available() < 0) {
      return "I3: the debits of " + name + " exceed its credits";
    }
    if (account.debits_pending != pending[i].debits_pending ||
        account.credits_pending != pending[i].credits_pending) {
      return "I2: the pending balances of " + name + " are not its open transfers";
    }
    Sums& sum = sums.at(static_cast<std::size_t>(account.id.unit));
    sum.debits_pending += account.debits_pending;
    sum.debits_posted += account.debits_posted;
    sum.credits_pending += account.credits_pending;
    sum.credits_posted += account.credits_posted;
  }
  for (const Sums& sum : sums) {
    if (sum.debits_pending != sum.credits_pending) return "I1: pending debits and credits differ";
    if (sum.debits_posted != sum.credits_posted) return "I1: posted debits and credits differ";
  }
  return std::nullopt;
}

}  // namespace weir::ledger
