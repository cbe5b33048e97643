// Replies that are kept to be sent again, in a SQLite file of their own: they are large, and
// nothing depends on them but the comfort of whoever asks twice.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "gateway/ports.h"

namespace weir::store {

// For one thread at a time.
class ReplyStore {
 public:
  static Result<std::unique_ptr<ReplyStore>> Open(const std::string& path);
  virtual ~ReplyStore() = default;

  // Writes of one Begin..Commit are one transaction. What fails is not kept; nobody is told but the
  // operator, by the result of Commit.
  virtual void Begin() = 0;
  virtual void Keep(const RequestId& request, const gateway::KeptReply& reply) = 0;
  virtual Result<void> Commit() = 0;
  // None: it was not kept, or cannot be read.
  virtual std::optional<gateway::KeptReply> Find(const RequestId& request) = 0;
  // Deletes what began before `instant`, a bounded number at once.
  virtual void DeleteBefore(Instant instant) = 0;
};

}  // namespace weir::store
