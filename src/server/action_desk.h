// What owners of keys ask of actions: one ActionBook for the process, used on the thread of the
// receipt desk, and one ActionPort for each worker, which must not wait for a disk.
//
// An action is what the request log has of it: there is none without a request.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "gateway/ports.h"
#include "server/receipt_desk.h"
#include "store/outcome_store.h"
#include "store/request_log.h"

namespace weir::server {

class ActionBook {
 public:
  struct Options {
    Duration looks_back = Seconds(7LL * 24 * 3600);  // an action older than this is unknown
    std::size_t requests_max = 1000;                 // of an action, the newest
    std::function<Instant()> wall_now;
  };

  // Both outlive it.
  ActionBook(store::OutcomeStore& outcomes, store::RequestLog& log, Options options)
      : outcomes_(outcomes), log_(log), options_(std::move(options)) {}

  // See gateway::Actions.
  Result<std::string> Find(const gateway::ActionAsker& asker);
  Result<std::string> Tell(const gateway::ActionAsker& asker,
                           const gateway::ActionOutcome& outcome);

 private:
  Result<std::vector<telemetry::ExchangeRecord>> RequestsOf(const gateway::ActionAsker& asker);
  Result<std::string> Document(const gateway::ActionAsker& asker,
                               const std::vector<telemetry::ExchangeRecord>& requests);

  store::OutcomeStore& outcomes_;
  store::RequestLog& log_;
  const Options options_;
};

// The book as one worker sees it. Used on the worker's thread; it must not die while a call of it
// waits.
class ActionPort final : public gateway::Actions {
 public:
  using Post = ReceiptPort::Post;
  ActionPort(ActionBook& book, ReceiptDesk& desk, Post post)
      : book_(book), desk_(desk), post_(std::move(post)) {}

  Task<Result<std::string>> Find(gateway::ActionAsker asker) override;
  Task<Result<std::string>> Tell(gateway::ActionAsker asker,
                                 gateway::ActionOutcome outcome) override;

 private:
  ActionBook& book_;
  ReceiptDesk& desk_;
  Post post_;
};

}  // namespace weir::server
