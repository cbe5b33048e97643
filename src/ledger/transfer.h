// A transfer between two accounts, in one step or in two (TigerBeetle's two-phase transfers).
//
//             kSingle ------------------------------> posted
//             kPending ----> held --kPost(amount)---> amount posted, the rest released
//                              \----kVoid-----------> all released
#pragma once

#include <cstdint>
#include <string_view>

#include "base/id.h"
#include "ledger/account.h"

namespace weir::ledger {

// Which request (or key, for funding) a transfer belongs to, and which of its legs it is. Ids are
// computed, never drawn, so that a recovery which is repeated makes the same ids.
struct TransferId {
  Id128 owner;
  std::uint32_t leg = 0;
  friend bool operator==(const TransferId&, const TransferId&) = default;
};

struct TransferIdHash {
  std::size_t operator()(const TransferId& id) const {
    return IdHash{}(id.owner) + id.leg * std::size_t{0x9E3779B97F4A7C15ULL};
  }
};

enum class TransferKind : std::uint8_t { kSingle = 1, kPending = 2, kPost = 3, kVoid = 4 };

// Accounts of kPost and kVoid are those of the pending transfer and must repeat them (I4); the
// amount of kVoid must repeat the held one.
struct Transfer {
  TransferId id;
  TransferKind kind = TransferKind::kSingle;
  TransferId pending;  // kPost, kVoid: what is resolved
  AccountIndex debit;
  AccountIndex credit;
  Amount amount;
  friend bool operator==(const Transfer&, const Transfer&) = default;
};

// What became of a transfer, in the order in which the checks win. Anything but kCreated has had
// no effect.
enum class TransferStatus : std::uint8_t {
  kCreated = 0,
  kExists,                      // same id, same content: the first one stands
  kExistsWithDifferentContent,  // same id, other content
  kIdMustNotBeEmpty,
  kAmountOutOfRange,  // negative, or above kMaxAmount
  kDebitAccountNotFound,
  kCreditAccountNotFound,
  kAccountsMustBeDifferent,
  kAccountsHaveDifferentUnits,
  kFlowNotAllowed,       // the chart of allowed flows has no such arrow
  kPendingMustBeEmpty,   // kSingle and kPending resolve nothing
  kPendingNotFound,      // never made, or resolved longer ago than the Book remembers
  kPendingIsNotPending,  // the id names a transfer of another kind
  kPendingHasOtherAccounts,
  kPendingAlreadyPosted,
  kPendingAlreadyVoided,
  kExceedsPendingAmount,   // kPost: more than was held
  kPendingHasOtherAmount,  // kVoid: not what was held
  kExceedsCredits,         // the debit account's rule (I3)
  kIdAlreadyFailed,        // a transfer of this id was refused for lack of credits: ids are burned
};

std::string_view Name(TransferStatus status);

}  // namespace weir::ledger
