// What came of actions of users, as their callers say: data_dir/outcomes.db. Cost per accepted
// result is worked out from it and the request log.
//
// The last word about an action counts, and what was said before is kept for a while. Saying the
// same again changes nothing.
//
// Any thread, one at a time (a mutex inside); never a worker, for it waits for the disk. A report
// may read beside it, with a store of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"

namespace weir::store {

struct OutcomeRecord {
  std::string scope;   // whose action: policy::Facts::action_scope
  std::string action;  // what its callers call it
  bool accepted = false;
  std::string note;
  KeyId key;  // that said so
  Instant at;
};

// What is kept of what was said of one action.
inline constexpr std::size_t kOutcomesKept = 20;

class OutcomeStore {
 public:
  struct Options {
    // Outcomes this much older than the newest are deleted, a few with each that is told.
    Duration keep = Seconds(400LL * 24 * 3600);
  };

  // Opens or creates the file and brings its schema up to date.
  //   path   data_dir/outcomes.db; ":memory:" in tests
  //   fails  kUnavailable (cannot be opened, written or read), kConflict (written by a newer
  //          version)
  static Result<std::unique_ptr<OutcomeStore>> Open(const std::string& path, Options options);
  static Result<std::unique_ptr<OutcomeStore>> Open(const std::string& path) {
    return Open(path, Options{});
  }
  // Opens one that is there, to read.   fails  kNotFound too
  static Result<std::unique_ptr<OutcomeStore>> OpenToRead(const std::string& path);
  ~OutcomeStore();
  OutcomeStore(const OutcomeStore&) = delete;
  OutcomeStore& operator=(const OutcomeStore&) = delete;

  // Notes an outcome, durably. Returns what then counts: this, or the same that was said before.
  Result<OutcomeRecord> Tell(const OutcomeRecord& outcome);
  // What was said of an action, the last first.
  Result<std::vector<OutcomeRecord>> Of(std::string_view scope, std::string_view action) const;
  // Calls `take` with what counts of every action of which something was said since `from`.
  Result<void> ForEach(Instant from, const std::function<void(const OutcomeRecord&)>& take) const;

 private:
  struct State;
  explicit OutcomeStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::store
