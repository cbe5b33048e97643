#include "store/request_scan.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "store/sqlite.h"

namespace weir::store {
namespace {

// About an hour.
constexpr std::int64_t kSlotsAStep = 4096;
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr int kMsPerSlotBits = 10;  // SlotOf's: an id has milliseconds above its low 80 bits

std::int64_t SlotAt(Instant at) { return (at.ns / kNsPerMs) >> kMsPerSlotBits; }

class Implementation final : public RequestScan {
 public:
  Implementation(std::string path, SqliteHandle db, Statement next, Statement rows)
      : path_(std::move(path)),
        db_(std::move(db)),
        next_(std::move(next)),
        rows_(std::move(rows)) {}

  Result<void> Run(Instant from, Instant to, Taker& taker) override {
    if (to <= from) return {};
    const std::int64_t last = SlotAt({to.ns - 1});
    std::int64_t slot = SlotAt(from);
    while (slot <= last) {
      auto next = NextSlot(slot);
      if (!next) return std::unexpected(next.error());
      if (!*next || **next > last) return {};
      slot = **next;
      const std::int64_t end = std::min(last, slot + kSlotsAStep - 1);
      if (auto read = Step(slot, end, taker); !read) return read;
      slot = end + 1;
    }
    return {};
  }

  Result<std::optional<Instant>> Oldest() override {
    auto next = NextSlot(INT64_MIN);
    if (!next) return std::unexpected(next.error());
    if (!*next) return std::nullopt;
    return Instant{(**next << kMsPerSlotBits) * kNsPerMs};
  }

 private:
  std::unexpected<Error> Failed() {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                path_ + ": " + SqliteProblem(db_.get()));
  }

  // The first slot from `slot` on that has a batch.
  Result<std::optional<std::int64_t>> NextSlot(std::int64_t slot) {
    next_.Bind(1, slot);
    const int code = next_.Step();
    std::optional<std::int64_t> found;
    if (code == SQLITE_ROW && !next_.IsNull(0)) found = next_.Int(0);
    next_.Reset();
    if (code != SQLITE_ROW) return Failed();
    return found;
  }

  Result<void> Step(std::int64_t from, std::int64_t to, Taker& taker) {
    rows_.Bind(1, from);
    rows_.Bind(2, to);
    std::int64_t slot = -1;
    int code = rows_.Step();
    for (; code == SQLITE_ROW; code = rows_.Step()) {
      if (slot != -1 && rows_.Int(1) != slot) taker.EndSlot();
      slot = rows_.Int(1);
      ExchangeReader exchange(rows_.Blob(0));
      bool first = true;
      while (exchange.Next()) taker.Take(exchange, std::exchange(first, false));
      if (exchange.damaged()) {
        rows_.Reset();
        return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                    path_ + " is damaged in slot " + std::to_string(slot));
      }
    }
    rows_.Reset();
    if (code != SQLITE_DONE) return Failed();
    if (slot != -1) taker.EndSlot();
    return {};
  }

  std::string path_;
  SqliteHandle db_;
  Statement next_;
  Statement rows_;
};

}  // namespace

Result<std::unique_ptr<RequestScan>> RequestScan::Open(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kEnvironment, "there is no " + path);
  }
  auto db = OpenSqlite(path, true);
  if (!db) return std::unexpected(db.error());
  if (auto set = Execute(db->get(), "PRAGMA busy_timeout=2000; PRAGMA query_only=ON"); !set) {
    return std::unexpected(set.error());
  }
  const auto because = [&](Error error) {
    error.detail =
        path + ": " + error.detail +
        "; a log of an earlier version is brought up to date when a gateway starts on it";
    return std::unexpected(std::move(error));
  };
  auto next = Prepare(db->get(), "SELECT min(slot) FROM batch WHERE slot >= ?1");
  if (!next) return because(next.error());
  auto rows = Prepare(db->get(),
                      "SELECT records, slot FROM batch WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot");
  if (!rows) return because(rows.error());
  return std::make_unique<Implementation>(path, *std::move(db), *std::move(next), *std::move(rows));
}

}  // namespace weir::store
