// The request log: every exchange that ended, in a SQLite file of its own, so that a long report
// never holds up a charge.
//
// Telemetry, not money: Append never waits for the disk. It encodes the exchange into the batch
// that is gathered (store/exchange_batch); a thread of the log's own writes the batches, and when
// it cannot keep up the queue drops and counts. A row of the file is a batch of exchanges that
// began in the same second or so, so a list reads whole rows from the newest backwards and filters
// as it decodes, some ten million exchanges a second. Reads use a second connection under a lock of
// their own and may come from any thread. Times are kept in whole microseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "telemetry/exchange_record.h"

namespace weir::store {

// Which exchanges to list. All that are set must hold.
struct RequestQuery {
  std::optional<KeyId> key;
  std::optional<std::string> model;  // asked for
  std::optional<int> status;
  std::optional<RequestId> after;  // older than this one: the last of the page before
  std::int64_t limit = 50;         // 1..1000
  bool charged = false;            // only what was charged to the key or its wallet
};

struct RequestPage {
  std::vector<telemetry::ExchangeRecord> records;
  // None: there are no older ones. Else older ones than this are yet to be looked at, and every
  // newer one that fits is in `records`.
  std::optional<RequestId> next;
};

// What an action is looked up by. Frozen: on disk. Two that have one hash are told apart by what is
// read.
//   scope  whose action: the workspace of the key, or its name when it has none
std::uint32_t ActionHash(std::string_view scope, std::string_view action);

class RequestLog {
 public:
  struct Options {
    std::size_t queue_rows_max = 65'536;
    std::size_t batch_rows_max = 16'384;  // exchanges that wake the writer before its time
    Duration write_interval = Milliseconds(200);
    // Exchanges that began this long before the newest, to about a second, are deleted, a few with
    // every batch. 0: never.
    Duration keep = Seconds(30 * 24 * 3600);
  };

  static Result<std::unique_ptr<RequestLog>> Open(const std::string& path, Options options);
  static Result<std::unique_ptr<RequestLog>> Open(const std::string& path) {
    return Open(path, Options{});
  }
  // Writes what is queued.
  virtual ~RequestLog() = default;

  // Any thread. Returns at once; drops the exchange when the queue is full. REQUIRES an id that no
  // other exchange has: one that was appended twice is listed twice.
  virtual void Append(const telemetry::ExchangeRecord& record) = 0;

  // Newest first, by request id (ids begin with their time). Exchanges show up within
  // write_interval.
  virtual Result<std::vector<telemetry::ExchangeRecord>> List(const RequestQuery& query) = 0;
  // The same, but gives up after about `batches_max` rows of the file, each of up to some hundred
  // exchanges: what a caller may ask for costs the same however long the log is.
  virtual Result<RequestPage> ListSome(const RequestQuery& query, std::size_t batches_max) = 0;
  virtual Result<std::optional<telemetry::ExchangeRecord>> Find(const RequestId& request) = 0;
  // The requests of an action that began after `since`, oldest first, of at most `limit` of the
  // newest.
  //   cost  four bytes for each action of that time, and the batches of this one
  virtual Result<std::vector<telemetry::ExchangeRecord>> FindAction(std::string_view scope,
                                                                    std::string_view action,
                                                                    Instant since,
                                                                    std::size_t limit) = 0;

  // Returns when everything appended before the call is written (or dropped because it could not
  // be).
  virtual void Flush() = 0;

  virtual std::uint64_t dropped() const = 0;
  virtual std::uint64_t written() const = 0;
};

}  // namespace weir::store
