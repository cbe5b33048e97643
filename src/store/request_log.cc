#include "store/request_log.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr std::int64_t kFlagStream = 1;
constexpr std::int64_t kFlagSandbox = 2;
constexpr std::int64_t kListMax = 1000;

constexpr std::string_view kColumns =
    "request, key, started_at_us, ending, refusal, status, operation, model, model_served, "
    "upstream,"
    " attempts, flags, usage_source, input_tokens, cached_input_tokens, cache_write_tokens,"
    " output_tokens, reasoning_tokens, held_nano_usd, charged_nano_usd, overrun_nano_usd, total_us,"
    " upstream_us, first_byte_us, durable_us";

using IdBytes = std::array<std::uint8_t, 16>;

// Big endian, so that blobs compare like ids.
IdBytes ToBytes(const Id128& id) {
  IdBytes bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(id.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<std::uint8_t>(id.low >> (56 - 8 * i));
  }
  return bytes;
}

template <class IdType>
IdType FromBytes(std::span<const std::uint8_t> bytes) {
  IdType id;
  if (bytes.size() != 16) return id;
  for (std::size_t i = 0; i < 8; ++i) {
    id.high = (id.high << 8) | bytes[i];
    id.low = (id.low << 8) | bytes[8 + i];
  }
  return id;
}

template <class Enum>
std::int64_t Code(Enum value) {
  return static_cast<std::int64_t>(value);
}

// `request` and `key` are the bound bytes: they must live until the step.
void BindRow(const telemetry::ExchangeRecord& row, const IdBytes& request, const IdBytes& key,
             Statement& to) {
  int at = 0;
  const auto number = [&](std::int64_t value) { to.Bind(++at, value); };
  to.Bind(++at, std::span<const std::uint8_t>(request));
  if (row.key.empty()) {
    to.BindNull(++at);
  } else {
    to.Bind(++at, std::span<const std::uint8_t>(key));
  }
  number(row.started_at.ns / 1000);
  number(Code(row.ending));
  number(Code(row.refusal));
  number(row.status);
  to.Bind(++at, std::string_view(row.operation));
  to.Bind(++at, std::string_view(row.model));
  to.Bind(++at, std::string_view(row.model_served));
  to.Bind(++at, std::string_view(row.upstream));
  number(row.attempts);
  number((row.stream ? kFlagStream : 0) | (row.sandbox ? kFlagSandbox : 0));
  number(Code(row.usage.source));
  number(row.usage.input_tokens);
  number(row.usage.cached_input_tokens);
  number(row.usage.cache_write_tokens);
  number(row.usage.output_tokens);
  number(row.usage.reasoning_tokens);
  number(row.held.n);
  number(row.charged.n);
  number(row.overrun.n);
  number(row.total.ns / 1000);
  number(row.upstream_time.ns / 1000);
  number(row.first_byte.ns / 1000);
  number(row.durable_time.ns / 1000);
}

telemetry::ExchangeRecord ReadRow(const Statement& from) {
  telemetry::ExchangeRecord row;
  int at = 0;
  const auto number = [&] { return from.Int(at++); };
  const auto text = [&] { return std::string(from.Text(at++)); };
  row.request = FromBytes<RequestId>(from.Blob(at++));
  row.key = FromBytes<KeyId>(from.Blob(at++));
  row.started_at = {number() * 1000};
  row.ending = static_cast<telemetry::EndingKind>(number());
  row.refusal = static_cast<Refusal>(number());
  row.status = static_cast<int>(number());
  row.operation = text();
  row.model = text();
  row.model_served = text();
  row.upstream = text();
  row.attempts = static_cast<std::int32_t>(number());
  const std::int64_t flags = number();
  row.stream = (flags & kFlagStream) != 0;
  row.sandbox = (flags & kFlagSandbox) != 0;
  row.usage.source = static_cast<UsageSource>(number());
  row.usage.input_tokens = number();
  row.usage.cached_input_tokens = number();
  row.usage.cache_write_tokens = number();
  row.usage.output_tokens = number();
  row.usage.reasoning_tokens = number();
  row.held = {number()};
  row.charged = {number()};
  row.overrun = {number()};
  row.total = {number() * 1000};
  row.upstream_time = {number() * 1000};
  row.first_byte = {number() * 1000};
  row.durable_time = {number() * 1000};
  return row;
}

class Implementation final : public RequestLog {
 public:
  Implementation(Options options, SqliteHandle write_db, SqliteHandle read_db, Statement insert,
                 Statement expire)
      : options_(options),
        write_db_(std::move(write_db)),
        read_db_(std::move(read_db)),
        insert_(std::move(insert)),
        expire_(std::move(expire)),
        writer_([this] { WriteUntilStopped(); }) {}

  ~Implementation() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    writer_.join();
  }

  void Append(telemetry::ExchangeRecord record) override {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (queue_.size() >= options_.queue_rows_max) {
        dropped_.fetch_add(1, std::memory_order_relaxed);
        return;
      }
      queue_.push_back(std::move(record));
      ++appended_;
      // The first row starts the writer's interval, a full batch ends it; the rows between are
      // free.
      wake = queue_.size() == 1 || queue_.size() == options_.batch_rows_max;
    }
    if (wake) wake_.notify_one();
  }

  Result<std::vector<telemetry::ExchangeRecord>> List(const RequestQuery& query) override {
    std::string sql = "SELECT " + std::string(kColumns) + " FROM exchange WHERE 1";
    if (query.key) sql += " AND key = ?1";
    if (query.model) sql += " AND model = ?2";
    if (query.status) sql += " AND status = ?3";
    if (query.after) sql += " AND request < ?4";
    sql += " ORDER BY request DESC LIMIT ?5";
    const IdBytes key = ToBytes(query.key.value_or(KeyId{}));
    const IdBytes after = ToBytes(query.after.value_or(RequestId{}));
    const std::lock_guard lock(read_mutex_);
    auto select = Prepare(read_db_.get(), sql);
    if (!select) return std::unexpected(select.error());
    if (query.key) select->Bind(1, std::span<const std::uint8_t>(key));
    if (query.model) select->Bind(2, std::string_view(*query.model));
    if (query.status) select->Bind(3, std::int64_t{*query.status});
    if (query.after) select->Bind(4, std::span<const std::uint8_t>(after));
    select->Bind(5, std::clamp<std::int64_t>(query.limit, 1, kListMax));
    return ReadRows(*select);
  }

  Result<std::optional<telemetry::ExchangeRecord>> Find(const RequestId& request) override {
    const IdBytes id = ToBytes(request);
    const std::lock_guard lock(read_mutex_);
    auto select = Prepare(read_db_.get(),
                          "SELECT " + std::string(kColumns) + " FROM exchange WHERE request = ?1");
    if (!select) return std::unexpected(select.error());
    select->Bind(1, std::span<const std::uint8_t>(id));
    auto rows = ReadRows(*select);
    if (!rows) return std::unexpected(rows.error());
    if (rows->empty()) return std::nullopt;
    return std::move(rows->front());
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
  Result<std::vector<telemetry::ExchangeRecord>> ReadRows(Statement& select) {
    std::vector<telemetry::ExchangeRecord> rows;
    int code = select.Step();
    for (; code == SQLITE_ROW; code = select.Step()) rows.push_back(ReadRow(select));
    if (code != SQLITE_DONE) {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                  SqliteProblem(read_db_.get()));
    }
    return rows;
  }

  void WriteUntilStopped() {
    std::vector<telemetry::ExchangeRecord> batch;
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;  // stopping, and everything is written
      wake_.wait_for(lock, std::chrono::nanoseconds(options_.write_interval.ns), [&] {
        return stopping_ || flush_to_ > done_ || queue_.size() >= options_.batch_rows_max;
      });
      batch.clear();
      batch.swap(queue_);
      lock.unlock();
      Write(batch);
      lock.lock();
      done_ += batch.size();
      written_some_.notify_all();
    }
  }

  // A batch that cannot be written is lost and counted: this is not the ledger.
  void Write(const std::vector<telemetry::ExchangeRecord>& batch) {
    std::uint64_t rows = 0;
    bool good = sqlite3_exec(write_db_.get(), "BEGIN", nullptr, nullptr, nullptr) == SQLITE_OK;
    for (auto row = batch.begin(); good && row != batch.end(); ++row) {
      const IdBytes request = ToBytes(row->request);
      const IdBytes key = ToBytes(row->key);
      BindRow(*row, request, key, insert_);
      good = insert_.Step() == SQLITE_DONE;
      insert_.Reset();
      ++rows;
    }
    if (good && options_.keep.ns > 0 && !batch.empty()) {
      const IdBytes oldest = ToBytes(
          MakeId({std::max<std::int64_t>(batch.back().started_at.ns - options_.keep.ns, 0)}, 0, 0));
      expire_.Bind(1, std::span<const std::uint8_t>(oldest));
      // Twice what came in, so that a log that was kept longer before shrinks to its new bound.
      expire_.Bind(2, static_cast<std::int64_t>(2 * batch.size()));
      good = expire_.Step() == SQLITE_DONE;
      expire_.Reset();
    }
    good = good && sqlite3_exec(write_db_.get(), "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK;
    if (good) {
      written_.fetch_add(rows, std::memory_order_relaxed);
    } else {
      sqlite3_exec(write_db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
      dropped_.fetch_add(batch.size(), std::memory_order_relaxed);
    }
  }

  const Options options_;
  SqliteHandle write_db_;  // the writer's
  std::mutex read_mutex_;
  SqliteHandle read_db_;  // under read_mutex_
  Statement insert_;
  Statement expire_;

  std::mutex mutex_;  // what follows, up to the counters
  std::condition_variable wake_;
  std::condition_variable written_some_;
  std::vector<telemetry::ExchangeRecord> queue_;
  std::uint64_t appended_ = 0;
  std::uint64_t done_ = 0;  // written or given up
  std::uint64_t flush_to_ = 0;
  bool stopping_ = false;

  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> written_{0};
  std::thread writer_;  // last: it uses all of the above
};

}  // namespace

Result<std::unique_ptr<RequestLog>> RequestLog::Open(const std::string& path, Options options) {
  auto write_db = OpenSqlite(path);
  if (!write_db) return std::unexpected(write_db.error());
  if (auto set = Execute(write_db->get(),
                         "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                         "PRAGMA busy_timeout=2000;");
      !set) {
    return std::unexpected(set.error());
  }
  if (auto version = Migrate(write_db->get(), "requests"); !version) {
    version.error().detail = path + ": " + version.error().detail;
    return std::unexpected(version.error());
  }
  std::string places = "?1";
  for (int i = 2; i <= 25; ++i) places += ", ?" + std::to_string(i);
  // Ids are unique; OR IGNORE keeps one repeated row from losing the batch it is in.
  auto insert = Prepare(write_db->get(), "INSERT OR IGNORE INTO exchange (" +
                                             std::string(kColumns) + ") VALUES (" + places + ")");
  if (!insert) return std::unexpected(insert.error());
  auto expire = Prepare(write_db->get(),
                        "DELETE FROM exchange WHERE request IN (SELECT request FROM exchange"
                        " WHERE request < ?1 ORDER BY request LIMIT ?2)");
  if (!expire) return std::unexpected(expire.error());
  auto read_db = OpenSqlite(path, true);
  if (!read_db) return std::unexpected(read_db.error());
  if (auto set = Execute(read_db->get(), "PRAGMA busy_timeout=2000; PRAGMA query_only=ON;"); !set) {
    return std::unexpected(set.error());
  }
  return std::make_unique<Implementation>(options, std::move(*write_db), std::move(*read_db),
                                          std::move(*insert), std::move(*expire));
}

}  // namespace weir::store
