// Redeems codes and makes statements, on the thread of the receipt desk: one Teller for the
// process, one WalletPort for each worker, which must not wait for a disk.
//
// Redeeming is two steps, each of which may be done again: the code is bound to the wallet on disk
// (store/wallet_store), then the ledger is given the grant that follows from it, whose id is the
// code's. A crash between them is healed by the next try; the ledger takes each grant once.
//
// Guessing is slow: a key that shows too many codes that are none waits.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "gateway/ports.h"
#include "identity/api_key.h"
#include "server/credit_host.h"
#include "server/receipt_desk.h"
#include "store/request_log.h"
#include "store/wallet_store.h"

namespace weir::server {

// A page of a statement: grants given, expired and revoked, and what requests of the key were
// charged, newest first. Used on one thread at a time.
class Teller {
 public:
  struct Options {
    // Codes that are none, of one key, in a window; then it waits for the window's end.
    std::size_t misses_max = 10;
    Duration misses_window = Minutes(1);
    // Keys whose misses are remembered; beyond it those whose window is over are forgotten, and if
    // there are none, all.
    std::size_t keys_max = 10'000;
    std::size_t batches_max = 2'000;  // of the request log, for a page
    std::function<Instant()> wall_now;
  };

  // All outlive it.
  Teller(store::WalletStore& store, store::RequestLog& log, CreditHost& credit,
         const identity::Pepper& pepper, Options options)
      : store_(store), log_(log), credit_(credit), pepper_(pepper), options_(std::move(options)) {}

  gateway::RedeemReply Redeem(const gateway::WalletAsker& asker, std::string_view code);
  Result<std::string> Statement(const gateway::WalletAsker& asker, std::int64_t limit,
                                std::string_view before);

 private:
  struct Misses {
    Instant since;
    std::size_t count = 0;
  };

  gateway::RedeemReply Miss(const KeyId& key, Instant now);
  Misses& MissesOf(const KeyId& key, Instant now);

  store::WalletStore& store_;
  store::RequestLog& log_;
  CreditHost& credit_;
  const identity::Pepper& pepper_;
  const Options options_;
  std::map<KeyId, Misses> misses_;
};

// The teller as one worker sees it. Used on the worker's thread; it must not die while a call of it
// waits.
class WalletPort final : public gateway::WalletDesk {
 public:
  using Post = ReceiptPort::Post;
  WalletPort(Teller& teller, ReceiptDesk& desk, Post post)
      : teller_(teller), desk_(desk), post_(std::move(post)) {}

  Task<gateway::RedeemReply> Redeem(gateway::WalletAsker asker, std::string code) override;
  Task<Result<std::string>> Statement(gateway::WalletAsker asker, std::int64_t limit,
                                      std::string before) override;

 private:
  Teller& teller_;
  ReceiptDesk& desk_;
  Post post_;
};

}  // namespace weir::server
