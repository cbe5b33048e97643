// The receipt of a request: what was asked and served, what was used, what one unit cost, what was
// held, charged and left to the operator, and every decision on the way, as one JSON document that
// is signed and can be checked without the gateway.
//
// The document is RFC 8785's form of itself, so that whoever reformats it can bring it back to the
// signed bytes: those without the member "signature". Amounts are texts with the unit in their
// name; nothing in it is rounded but the price, once, up, to the nano-dollar.
//
// No prompt, no reply, no secret. Which of the operator's accounts served is the operator's.
//
// Pure but for the signature, which takes no state. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "identity/key_record.h"
#include "store/receipt_key.h"
#include "telemetry/exchange_record.h"

namespace weir::server {

enum class ReceiptView : std::uint8_t { kOwner, kOperator };

// A price as the record of an exchange keeps it. REQUIRES one that PriceFault finds nothing wrong
// with, as every price of a configuration is.
std::string PriceBytes(const config::Price& price);

// FROZEN as "weir.receipt/1": members are added under that name, never changed or taken out.
//   key  null when it is gone from the key store
std::string MakeReceipt(const telemetry::ExchangeRecord& record, const identity::KeyRecord* key,
                        const config::Config& config, ReceiptView view,
                        const store::ReceiptKey& signer);

// The public half of the key, for everybody: {"algorithm":"Ed25519","public_key":"..."}.
std::string ReceiptKeyBody(const store::ReceiptKey& key);

// What a check of a receipt found. Good when nothing is wrong.
struct ReceiptCheck {
  std::string request;              // "req_...", if it could be read
  std::string signed_by;            // the public key it names
  std::vector<std::string> faults;  // sentences for a reader
};

// Checks the signature, and that the amounts follow from usage, price and hold.
//   text        any bytes; more than kReceiptBytesMax are refused
//   public_key  whose receipt it must be, 64 hex digits; none: whoever it says, which shows only
//   that
//               it was not changed since somebody signed it
inline constexpr std::size_t kReceiptBytesMax = 64 << 10;
ReceiptCheck CheckReceipt(std::string_view text, const std::optional<std::string>& public_key);

}  // namespace weir::server
