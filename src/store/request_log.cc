#include "store/request_log.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "store/exchange_batch.h"
#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr std::int64_t kListMax = 1000;
constexpr Duration kSlotTime = Milliseconds(1024);  // SlotOf's
constexpr std::int64_t kOldMax = INT64_MAX / 1000;  // microseconds that fit into nanoseconds
// A batch that has grown to this is closed: one row never needs much memory to be read.
constexpr std::size_t kBatchBytes = 128 << 10;
// Exchanges that end together mostly began together. Where they did not, this many batches are
// looked through for the right slot before another is begun.
constexpr std::size_t kSlotsSearched = 8;
constexpr const char* kWritePragmas =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=2000;";

// Exchanges that began in one slot, to become one row.
struct SlotBatch {
  std::int64_t slot = 0;
  ExchangeBatch exchanges;
  std::vector<std::uint32_t> actions;  // hashes, of those that have one
};

// Into which of `batches` an exchange of `slot` goes; a new one if need be.
SlotBatch& BatchFor(std::int64_t slot, std::vector<SlotBatch>& batches) {
  const std::size_t searched = std::min(batches.size(), kSlotsSearched);
  for (auto it = batches.rbegin(); it != batches.rbegin() + static_cast<std::ptrdiff_t>(searched);
       ++it) {
    if (it->slot == slot && it->exchanges.bytes().size() < kBatchBytes) return *it;
  }
  return batches.emplace_back(SlotBatch{.slot = slot, .exchanges = {}, .actions = {}});
}

std::string_view ScopeOf(std::string_view workspace, std::string_view key) {
  return workspace.empty() ? key : workspace;
}

void AppendTo(std::vector<SlotBatch>& batches, const telemetry::ExchangeRecord& record) {
  SlotBatch& batch = BatchFor(SlotOf(record.request), batches);
  batch.exchanges.Append(record);
  if (record.action.empty()) return;
  batch.actions.push_back(ActionHash(ScopeOf(record.attributes.Get(config::Dimension::kWorkspace),
                                             record.attributes.Get(config::Dimension::kKey)),
                                     record.action));
}

// Sorted, each once, big endian.
std::vector<std::uint8_t> HashBytes(std::vector<std::uint32_t> hashes) {
  std::ranges::sort(hashes);
  const auto repeated = std::ranges::unique(hashes);
  hashes.erase(repeated.begin(), repeated.end());
  std::vector<std::uint8_t> bytes;
  bytes.reserve(hashes.size() * 4);
  for (const std::uint32_t hash : hashes) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      bytes.push_back(static_cast<std::uint8_t>(hash >> shift));
    }
  }
  return bytes;
}

bool HasHash(std::span<const std::uint8_t> bytes, std::uint32_t hash) {
  std::size_t from = 0;
  std::size_t to = bytes.size() / 4;
  while (from < to) {
    const std::size_t at = (from + to) / 2;
    std::uint32_t found = 0;
    for (std::size_t i = 0; i < 4; ++i) found = found << 8 | bytes[4 * at + i];
    if (found == hash) return true;
    if (found < hash) {
      from = at + 1;
    } else {
      to = at;
    }
  }
  return false;
}

// Inserts a batch with a statement made of kInsert; false when SQLite failed.
constexpr std::string_view kInsert = "INSERT INTO batch (slot, count, records) VALUES (?1, ?2, ?3)";
bool InsertBatch(const SlotBatch& batch, Statement& insert) {
  insert.Bind(1, batch.slot);
  insert.Bind(2, std::int64_t{batch.exchanges.count()});
  insert.Bind(3, batch.exchanges.bytes());
  const bool good = insert.Step() == SQLITE_DONE;
  insert.Reset();
  return good;
}

constexpr std::string_view kInsertActions =
    "INSERT INTO batch_action (slot, hashes) VALUES (?1, ?2)";
bool InsertActions(const SlotBatch& batch, Statement& insert) {
  if (batch.actions.empty()) return true;
  const std::vector<std::uint8_t> bytes = HashBytes(batch.actions);
  insert.Bind(1, batch.slot);
  insert.Bind(2, std::span<const std::uint8_t>(bytes));
  const bool good = insert.Step() == SQLITE_DONE;
  insert.Reset();
  return good;
}

bool Fits(const RequestQuery& query, const ExchangeReader& exchange) {
  return (!query.after || exchange.request() < *query.after) &&
         (!query.status || exchange.number(ExchangeReader::kStatus) == *query.status) &&
         (!query.model || exchange.word(ExchangeReader::kModel) == *query.model) &&
         (!query.key || exchange.key() == *query.key) &&
         (!query.charged || exchange.number(ExchangeReader::kChargedNanoUsd) > 0 ||
          exchange.number(ExchangeReader::kWalletCharged) > 0);
}

bool IsNewer(const telemetry::ExchangeRecord& a, const telemetry::ExchangeRecord& b) {
  return a.request > b.request;
}

// The newest `limit` of all that was offered: a heap with the oldest of them on top.
class Newest {
 public:
  explicit Newest(std::size_t limit) : limit_(limit) {}
  void Offer(const ExchangeReader& exchange) {
    if (heap_.size() == limit_) {
      if (exchange.request() <= heap_.front().request) return;
      std::ranges::pop_heap(heap_, IsNewer);
      heap_.pop_back();
    }
    heap_.push_back(exchange.Record());
    std::ranges::push_heap(heap_, IsNewer);
  }
  // Newest first; leaves nothing behind.
  std::vector<telemetry::ExchangeRecord> Take() {
    std::ranges::sort_heap(heap_, IsNewer);
    return std::move(heap_);
  }

 private:
  std::size_t limit_;
  std::vector<telemetry::ExchangeRecord> heap_;
};

// A row of schema version 1, in the order of the columns that MoveOldRows names.
telemetry::ExchangeRecord ReadOldRow(const Statement& from) {
  telemetry::ExchangeRecord row;
  int at = 0;
  const auto number = [&] { return from.Int(at++); };
  const auto text = [&] { return std::string(from.Text(at++)); };
  const auto id = [&] {
    Id128 value;
    const auto bytes = from.Blob(at++);
    for (std::size_t i = 0; i < bytes.size() && i < 16; ++i) {
      std::uint64_t& half = i < 8 ? value.high : value.low;
      half = half << 8 | bytes[i];
    }
    return value;
  };
  const auto microseconds = [&] { return Microseconds(std::clamp(number(), -kOldMax, kOldMax)); };
  row.request = RequestId{id()};
  row.key = KeyId{id()};
  row.started_at = Instant{} + microseconds();
  row.ending = static_cast<telemetry::EndingKind>(number());
  row.refusal = static_cast<Refusal>(number());
  row.status = static_cast<int>(number());
  row.operation = text();
  row.model = text();
  row.model_served = text();
  row.upstream = text();
  row.attempts = static_cast<std::int32_t>(number());
  const std::int64_t flags = number();
  row.stream = (flags & 1) != 0;
  row.sandbox = (flags & 2) != 0;
  row.usage.source = static_cast<UsageSource>(number());
  row.usage.input_tokens = number();
  row.usage.cached_input_tokens = number();
  row.usage.cache_write_tokens = number();
  row.usage.output_tokens = number();
  row.usage.reasoning_tokens = number();
  row.held = {number()};
  row.charged = {number()};
  row.overrun = {number()};
  row.total = microseconds();
  row.upstream_time = microseconds();
  row.first_byte = microseconds();
  row.durable_time = microseconds();
  return row;
}

// The id that is one less: what is listed behind `id` has at most this one. Behind the first id of
// a slot that is in the slot before.
RequestId Before(const RequestId& id) {
  RequestId before = id;
  if (before.low-- == 0 && before.high > 0) --before.high;
  return before;
}

class Implementation final : public RequestLog {
 public:
  struct Statements {
    Statement insert;
    Statement insert_actions;
    Statement expire;
    Statement expire_actions;
  };
  Implementation(Options options, SqliteHandle write_db, SqliteHandle read_db,
                 Statements statements)
      : options_(options),
        write_db_(std::move(write_db)),
        read_db_(std::move(read_db)),
        statements_(std::move(statements)),
        writer_([this] { WriteUntilStopped(); }) {}

  ~Implementation() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    writer_.join();
  }

  void Append(const telemetry::ExchangeRecord& record) override {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (queued_ >= options_.queue_rows_max) {
        dropped_.fetch_add(1, std::memory_order_relaxed);
        return;
      }
      AppendTo(queue_, record);
      ++queued_;
      ++appended_;
      // The first one starts the writer's interval, a full batch ends it; those between are free.
      wake = queued_ == 1 || queued_ == options_.batch_rows_max;
    }
    if (wake) wake_.notify_one();
  }

  Result<std::vector<telemetry::ExchangeRecord>> List(const RequestQuery& query) override {
    auto page = ListSome(query, SIZE_MAX);
    if (!page) return std::unexpected(page.error());
    return std::move(page->records);
  }

  Result<RequestPage> ListSome(const RequestQuery& query, std::size_t batches_max) override {
    const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(query.limit, 1, kListMax));
    const std::lock_guard lock(read_mutex_);
    auto rows = Prepare(read_db_.get(),
                        "SELECT records, slot FROM batch WHERE slot <= ?1 ORDER BY slot DESC");
    if (!rows) return std::unexpected(rows.error());
    rows->Bind(1, query.after ? SlotOf(Before(*query.after)) : INT64_MAX);
    // Slots are in order and what is in one is not, so the list is full only at a slot's end.
    RequestPage page;
    std::vector<telemetry::ExchangeRecord>& list = page.records;
    Newest newest(limit);
    std::int64_t slot = -1;
    std::size_t batches = 0;
    const auto end_slot = [&] {
      std::ranges::move(newest.Take(), std::back_inserter(list));
      newest = Newest(limit - list.size());
    };
    int code = rows->Step();
    for (; code == SQLITE_ROW; code = rows->Step()) {
      if (rows->Int(1) != slot) {
        end_slot();
        if (list.size() == limit) {
          page.next = list.back().request;
          return page;
        }
        if (batches >= batches_max) {
          // Every id of the slot that was read last has been looked at.
          page.next = RequestId{{static_cast<std::uint64_t>(slot) << kSlotBits, 0}};
          return page;
        }
        slot = rows->Int(1);
      }
      ++batches;
      ExchangeReader exchange(rows->Blob(0));
      while (exchange.Next()) {
        if (Fits(query, exchange)) newest.Offer(exchange);
      }
      if (exchange.damaged()) return Damaged(slot);
    }
    if (code != SQLITE_DONE) return Failed();
    end_slot();
    // The last slot may have had more than there was room for.
    if (list.size() == limit) page.next = list.back().request;
    return page;
  }

  Result<std::optional<telemetry::ExchangeRecord>> Find(const RequestId& request) override {
    const std::lock_guard lock(read_mutex_);
    auto rows = Prepare(read_db_.get(), "SELECT records FROM batch WHERE slot = ?1");
    if (!rows) return std::unexpected(rows.error());
    rows->Bind(1, SlotOf(request));
    int code = rows->Step();
    for (; code == SQLITE_ROW; code = rows->Step()) {
      ExchangeReader exchange(rows->Blob(0));
      while (exchange.Next()) {
        if (exchange.request() == request) return exchange.Record();
      }
      if (exchange.damaged()) return Damaged(SlotOf(request));
    }
    if (code != SQLITE_DONE) return Failed();
    return std::nullopt;
  }

  Result<std::vector<telemetry::ExchangeRecord>> FindAction(std::string_view scope,
                                                            std::string_view action, Instant since,
                                                            std::size_t limit) override {
    const std::lock_guard lock(read_mutex_);
    auto slots = Prepare(read_db_.get(),
                         "SELECT slot, hashes FROM batch_action WHERE slot >= ?1"
                         " ORDER BY slot DESC");
    if (!slots) return std::unexpected(slots.error());
    auto rows = Prepare(read_db_.get(), "SELECT records FROM batch WHERE slot = ?1");
    if (!rows) return std::unexpected(rows.error());
    const std::uint32_t hash = ActionHash(scope, action);
    slots->Bind(1, since.ns / kSlotTime.ns);
    std::vector<telemetry::ExchangeRecord> found;
    std::int64_t slot = -1;
    int code = slots->Step();
    for (; code == SQLITE_ROW && found.size() < limit; code = slots->Step()) {
      // A slot has a row for each of its batches; all of them are read at the first.
      if (slots->Int(0) == slot || !HasHash(slots->Blob(1), hash)) continue;
      slot = slots->Int(0);
      rows->Bind(1, slot);
      int row = rows->Step();
      for (; row == SQLITE_ROW; row = rows->Step()) {
        ExchangeReader exchange(rows->Blob(0));
        while (exchange.Next()) {
          if (exchange.word(ExchangeReader::kAction) == action &&
              ScopeOf(exchange.attribute(config::Dimension::kWorkspace),
                      exchange.attribute(config::Dimension::kKey)) == scope) {
            found.push_back(exchange.Record());
          }
        }
        if (exchange.damaged()) return Damaged(slot);
      }
      rows->Reset();
      if (row != SQLITE_DONE) return Failed();
    }
    if (code != SQLITE_DONE && code != SQLITE_ROW) return Failed();
    std::ranges::sort(found, {}, &telemetry::ExchangeRecord::request);
    if (found.size() > limit)
      found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(limit));
    return found;
  }

  void Flush() override {
    std::unique_lock lock(mutex_);
    const std::uint64_t wanted = appended_;
    flush_to_ = std::max(flush_to_, wanted);
    wake_.notify_one();
    written_some_.wait(lock, [&] { return done_ >= wanted; });
  }

  std::uint64_t dropped() const override { return dropped_.load(std::memory_order_relaxed); }
  std::uint64_t written() const override { return written_.load(std::memory_order_relaxed); }

 private:
  std::unexpected<Error> Failed() {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, SqliteProblem(read_db_.get()));
  }
  static std::unexpected<Error> Damaged(std::int64_t slot) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                "the request log is damaged in slot " + std::to_string(slot));
  }

  void WriteUntilStopped() {
    pthread_setname_np(pthread_self(), "weir-reqlog");
    std::vector<SlotBatch> batches;
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || queued_ > 0; });
      if (queued_ == 0) return;  // stopping, and everything is written
      wake_.wait_for(lock, std::chrono::nanoseconds(options_.write_interval.ns), [&] {
        return stopping_ || flush_to_ > done_ || queued_ >= options_.batch_rows_max;
      });
      batches.swap(queue_);
      const std::size_t count = std::exchange(queued_, 0);
      lock.unlock();
      Write(batches, count);
      batches.clear();
      lock.lock();
      done_ += count;
      written_some_.notify_all();
    }
  }

  // What cannot be written is lost and counted: this is not the ledger.
  void Write(const std::vector<SlotBatch>& batches, std::size_t count) {
    bool good = sqlite3_exec(write_db_.get(), "BEGIN", nullptr, nullptr, nullptr) == SQLITE_OK;
    for (auto batch = batches.begin(); good && batch != batches.end(); ++batch) {
      good = InsertBatch(*batch, statements_.insert) &&
             InsertActions(*batch, statements_.insert_actions);
    }
    if (good && options_.keep.ns > 0) {
      const std::int64_t newest = std::ranges::max_element(batches, {}, &SlotBatch::slot)->slot;
      for (Statement* expire : {&statements_.expire, &statements_.expire_actions}) {
        expire->Bind(1, newest - options_.keep.ns / kSlotTime.ns - 1);
        // Twice what came in, so that a log that was kept longer before shrinks to its new bound.
        expire->Bind(2, static_cast<std::int64_t>(2 * batches.size()));
        good = good && expire->Step() == SQLITE_DONE;
        expire->Reset();
      }
    }
    good = good && sqlite3_exec(write_db_.get(), "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK;
    if (good) {
      written_.fetch_add(count, std::memory_order_relaxed);
    } else {
      sqlite3_exec(write_db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
      dropped_.fetch_add(count, std::memory_order_relaxed);
    }
  }

  const Options options_;
  SqliteHandle write_db_;  // the writer's
  std::mutex read_mutex_;
  SqliteHandle read_db_;  // under read_mutex_
  Statements statements_;

  std::mutex mutex_;  // what follows, up to the counters
  std::condition_variable wake_;
  std::condition_variable written_some_;
  std::vector<SlotBatch> queue_;
  std::size_t queued_ = 0;  // exchanges in queue_
  std::uint64_t appended_ = 0;
  std::uint64_t done_ = 0;  // written or given up
  std::uint64_t flush_to_ = 0;
  bool stopping_ = false;

  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> written_{0};
  std::thread writer_;  // last: it uses all of the above
};

// Moves what a log of schema version 1 has, one row for each exchange, into batches. Once for a
// file, about 2 us an exchange.
Result<void> MoveOldRows(sqlite3* db) {
  auto table =
      Prepare(db, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'exchange'");
  if (!table) return std::unexpected(table.error());
  const bool is_old = table->Step() == SQLITE_ROW;
  table->Reset();
  if (!is_old) return {};
  if (auto begun = Execute(db, "BEGIN IMMEDIATE"); !begun) return begun;
  const auto move = [&]() -> Result<void> {
    auto rows = Prepare(db,
                        "SELECT request, key, started_at_us, ending, refusal, status, operation,"
                        " model, model_served, upstream, attempts, flags, usage_source,"
                        " input_tokens, cached_input_tokens, cache_write_tokens, output_tokens,"
                        " reasoning_tokens, held_nano_usd, charged_nano_usd, overrun_nano_usd,"
                        " total_us, upstream_us, first_byte_us, durable_us"
                        " FROM exchange ORDER BY request");
    if (!rows) return std::unexpected(rows.error());
    auto insert = Prepare(db, kInsert);
    if (!insert) return std::unexpected(insert.error());
    // Rows come in the order of their slots: all batches but the last are complete.
    std::vector<SlotBatch> batches;
    const auto problem = [&] {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, SqliteProblem(db));
    };
    int code = rows->Step();
    for (; code == SQLITE_ROW; code = rows->Step()) {
      const telemetry::ExchangeRecord row = ReadOldRow(*rows);
      AppendTo(batches, row);
      if (batches.size() == 1) continue;
      if (!InsertBatch(batches.front(), *insert)) return problem();
      batches.erase(batches.begin());
    }
    if (code != SQLITE_DONE) return problem();
    if (!batches.empty() && !InsertBatch(batches.front(), *insert)) return problem();
    return {};
  };
  auto moved = move();
  if (moved) moved = Execute(db, "DROP TABLE exchange; COMMIT");
  if (!moved) sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
  return moved;
}

}  // namespace

std::uint32_t ActionHash(std::string_view scope, std::string_view action) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
  const auto add = [&](unsigned char byte) { hash = (hash ^ byte) * 0x100000001B3ULL; };
  for (const char c : scope) add(static_cast<unsigned char>(c));
  add(0);
  for (const char c : action) add(static_cast<unsigned char>(c));
  return static_cast<std::uint32_t>(hash ^ hash >> 32);
}

Result<std::unique_ptr<RequestLog>> RequestLog::Open(const std::string& path, Options options) {
  auto write_db = OpenSqlite(path);
  if (!write_db) return std::unexpected(write_db.error());
  if (auto set = Execute(write_db->get(), kWritePragmas); !set) return std::unexpected(set.error());
  if (auto version = Migrate(write_db->get(), "requests"); !version) {
    version.error().detail = path + ": " + version.error().detail;
    return std::unexpected(version.error());
  }
  if (auto moved = MoveOldRows(write_db->get()); !moved) {
    moved.error().detail = path + ": moving old rows: " + moved.error().detail;
    return std::unexpected(moved.error());
  }
  Implementation::Statements statements;
  for (const auto& [statement, sql] :
       {std::pair(&statements.insert, kInsert),
        {&statements.insert_actions, kInsertActions},
        {&statements.expire,
         std::string_view("DELETE FROM batch WHERE rowid IN (SELECT rowid FROM batch"
                          " WHERE slot < ?1 ORDER BY slot LIMIT ?2)")},
        {&statements.expire_actions,
         std::string_view("DELETE FROM batch_action WHERE rowid IN (SELECT rowid FROM batch_action"
                          " WHERE slot < ?1 ORDER BY slot LIMIT ?2)")}}) {
    auto prepared = Prepare(write_db->get(), sql);
    if (!prepared) return std::unexpected(prepared.error());
    *statement = *std::move(prepared);
  }
  auto read_db = OpenSqlite(path, true);
  if (!read_db) return std::unexpected(read_db.error());
  if (auto set = Execute(read_db->get(), "PRAGMA busy_timeout=2000; PRAGMA query_only=ON;"); !set) {
    return std::unexpected(set.error());
  }
  return std::make_unique<Implementation>(options, std::move(*write_db), std::move(*read_db),
                                          std::move(statements));
}

}  // namespace weir::store
