// Reads a request log from its oldest exchange to its newest, for reports and replays: beside the
// gateway that writes it, or of one that is stopped.
//
// A second reader of the file, by SQLite's WAL: it neither waits for the writer nor holds it up.
// What is written meanwhile may or may not be seen. It reads in steps and lets go of the file
// between them, so that the writer's log does not grow behind a long read.
//
// Nothing is made of an exchange that nobody asks for: whoever takes them reads the words and
// numbers it needs off the batch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "store/exchange_batch.h"

namespace weir::store {

class RequestScan {
 public:
  class Taker {
   public:
    virtual ~Taker() = default;
    // An exchange, whose texts live until the next call. `first`: of a batch, so that what the
    // reader calls unchanged is not what was taken before.
    virtual void Take(const ExchangeReader& exchange, bool first) = 0;
    // All that began in one slot, about a second, were taken, in no order; what follows is later.
    virtual void EndSlot() = 0;
  };

  // Opens a log that is there; makes nothing and changes nothing.
  //   fails  kNotFound (there is none), kUnavailable (it cannot be read; it is of before 0.1.0 and
  //          no gateway has opened it since)
  static Result<std::unique_ptr<RequestScan>> Open(const std::string& path);
  virtual ~RequestScan() = default;

  // Hands over every exchange that began in [from, to), to the second; none is missing there, some
  // beyond may come.
  virtual Result<void> Run(Instant from, Instant to, Taker& taker) = 0;
  // When the oldest began, to the second; none: the log is empty.
  virtual Result<std::optional<Instant>> Oldest() = 0;
};

}  // namespace weir::store
