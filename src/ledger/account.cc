#include "ledger/account.h"

namespace weir::ledger {

std::string_view Name(Unit unit) {
  switch (unit) {
    case Unit::kNanoUsd:
      return "nano_usd";
    case Unit::kQuotaToken:
      return "quota_tokens";
  }
  return "unknown";
}

std::string_view Name(AccountKind kind) {
  switch (kind) {
    case AccountKind::kKey:
      return "key";
    case AccountKind::kSource:
      return "source";
    case AccountKind::kRevenue:
      return "revenue";
    case AccountKind::kOverrun:
      return "overrun";
    case AccountKind::kGrant:
      return "grant";
    case AccountKind::kBreakage:
      return "breakage";
  }
  return "unknown";
}

bool FlowAllowed(AccountKind debit, AccountKind credit) {
  switch (debit) {
    case AccountKind::kSource:
      return credit == AccountKind::kKey || credit == AccountKind::kGrant;
    case AccountKind::kKey:
      return credit == AccountKind::kSource || credit == AccountKind::kRevenue;
    case AccountKind::kGrant:
      return credit == AccountKind::kSource || credit == AccountKind::kRevenue ||
             credit == AccountKind::kBreakage;
    case AccountKind::kOverrun:
      return credit == AccountKind::kRevenue;
    case AccountKind::kRevenue:
    case AccountKind::kBreakage:
      return false;
  }
  return false;
}

}  // namespace weir::ledger
