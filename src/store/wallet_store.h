// Redeem codes on disk, and the trail of what operators did to wallets: data_dir/wallets.db.
//
// Balances are the ledger's and are not in here. What a code gives, and to which wallet it went, is
// written before the grant is: the grant's id is the code's, and its times follow from what is
// written here, so that a redemption cut in the middle is finished by the next try and never made
// twice.
//
//   made --redeemed--> bound to one wallet for ever
//     \--revoked or too late--> no longer valid
//
// Any thread, one at a time (a mutex inside); never a worker, for it waits for the disk.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "identity/api_key.h"
#include "ledger/record.h"
#include "store/key_store.h"

namespace weir::store {

struct CodeId : Id128 {};

// What a code gives, and what became of it.
struct CodeRecord {
  CodeId id;
  Id128 batch;
  identity::KeyDigest digest;
  std::string display;
  ledger::Unit unit = ledger::Unit::kQuotaToken;
  ledger::Amount amount;
  ledger::GrantCategory category = ledger::GrantCategory::kPaid;
  std::int32_t priority = 0;
  std::optional<Duration> valid_for;  // at most one of these two
  std::optional<Instant> expires_at;
  std::optional<Instant> redeem_by;
  Instant created_at;
  std::optional<Instant> revoked_at;
  std::optional<Instant> redeemed_at;
  ledger::WalletId redeemed_wallet;
  KeyId redeemed_key;
};

// The grant that a redeemed code makes: the same whenever it is asked for.
ledger::GrantRecord GrantOf(const CodeRecord& code);

enum class RedeemOutcome : std::uint8_t {
  kBound,      // to this wallet, now or before
  kNotValid,   // there is none, or it is revoked, or too late
  kTaken,      // by another wallet
  kOtherUnit,  // it is for wallets of another unit
};

struct WalletAuditEntry {
  std::int64_t sequence = 0;  // from 1, without gaps
  std::string subject;
  AuditNote note;  // never holds a code
};

struct CodeQuery {
  std::optional<Id128> batch;
  std::optional<CodeId> before;  // older than this one: the last of the page before
  std::int64_t limit = 50;       // 1..1000
};

// A call makes at most so many codes.
inline constexpr std::int64_t kCodesPerBatchMax = 1000;

class WalletStore {
 public:
  // Opens or creates the file and brings its schema up to date.
  //   path   data_dir/wallets.db; ":memory:" in tests
  //   fails  kUnavailable (cannot be opened, written or read), kConflict (written by a newer
  //          version)
  static Result<std::unique_ptr<WalletStore>> Open(const std::string& path);
  ~WalletStore();
  WalletStore(const WalletStore&) = delete;
  WalletStore& operator=(const WalletStore&) = delete;

  // Adds codes, all or none.    fails  kConflict (an id or digest is taken), kUnavailable
  Result<void> Insert(const std::vector<CodeRecord>& codes, std::string_view subject,
                      const AuditNote& note);
  // Newest first.
  Result<std::vector<CodeRecord>> List(const CodeQuery& query) const;
  Result<std::optional<CodeRecord>> Find(const CodeId& id) const;
  // Makes every code of the batch, or the one of that id, that nobody redeemed worth nothing.
  //   returns  how many
  Result<std::int64_t> Revoke(const Id128& code_or_batch, const AuditNote& note);

  // Binds a code to a wallet, durably, and says what it is. The grant is the caller's to make
  // (GrantOf) with kBound, each time.
  struct Redemption {
    RedeemOutcome outcome = RedeemOutcome::kNotValid;
    CodeRecord code;  // with kBound
  };
  Result<Redemption> Redeem(const identity::KeyDigest& digest, const ledger::WalletId& wallet,
                            ledger::Unit unit, const KeyId& key, Instant now);

  // Writes a line of the trail, before what it tells of is done.
  Result<void> Note(std::string_view subject, const AuditNote& note);
  // Newest first.    before  only entries with a smaller sequence; 0: from the newest
  Result<std::vector<WalletAuditEntry>> Audit(std::int64_t before, int limit) const;

 private:
  struct State;
  explicit WalletStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::store
