// What the handlers of wallets and of codes share. Private to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "admin/body_reader.h"
#include "admin/json_writer.h"
#include "ledger/record.h"

namespace weir::admin {

// "quota_token" or "usd".
std::string_view UnitText(ledger::Unit unit);
std::string_view CategoryText(ledger::GrantCategory category);

// Quota tokens as a number; US dollars as a decimal text, as everywhere in this API.
void WriteAmount(std::string_view name, ledger::Amount amount, ledger::Unit unit, JsonWriter& json);
// "15600 quota tokens", "12.5 USD".
std::string AmountText(ledger::Amount amount, ledger::Unit unit);

// What a grant and a code have in common, from the body of a request. `unit` says what `amount`
// counts: quota tokens, or millionths of a USD.
struct GrantTerms {
  ledger::Amount amount;
  ledger::GrantCategory category = ledger::GrantCategory::kPaid;
  std::int32_t priority = 0;
};
GrantTerms ReadTerms(ObjectReader& reader, ledger::Unit unit);

// A time in the future; null is none.
void ReadFuture(ObjectReader& reader, std::string_view name, Instant now,
                std::optional<Instant>& out);

}  // namespace weir::admin
