#include "store/sqlite_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "store/journal_chain.h"
#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

// The WAL is copied into the file when it has grown to this many pages of 4 KiB: 16 MiB. Rarely
// enough that its two syncs do not show in the latency of commits, often enough for a short start.
constexpr int kCheckpointPages = 4096;

// Of a slice: where commits are small, its rows take longer than its bytes.
constexpr std::size_t kSliceRowsMax = 512;

// Keeps other processes away from a file for as long as it lives. The lock is the kernel's and
// ends with the process, however that ends.
class FileLock {
 public:
  FileLock() = default;
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock() {
    if (fd_ >= 0) ::close(fd_);
  }

  static Result<FileLock> Take(const std::string& path) {
    FileLock lock;
    lock.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock.fd_ < 0) {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                  "cannot open " + path + ": " + std::strerror(errno));
    }
    if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0) {
      std::array<char, 32> holder{};
      const auto size = ::pread(lock.fd_, holder.data(), holder.size() - 1, 0);
      std::string pid(holder.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
      while (!pid.empty() && pid.back() == '\n') pid.pop_back();
      return Fail(ErrorCode::kConflict, ErrorSource::kEnvironment,
                  path + " is locked" + (pid.empty() ? "" : " by process " + pid) +
                      ": another gateway runs on this data directory; stop it, or use another one");
    }
    // For whoever finds the file locked; the lock itself does not depend on it.
    const std::string pid = std::to_string(::getpid()) + "\n";
    if (::ftruncate(lock.fd_, 0) != 0 ||
        ::pwrite(lock.fd_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                  "cannot write " + path + ": " + std::strerror(errno));
    }
    return lock;
  }

 private:
  int fd_ = -1;
};

class Implementation final : public SqliteJournal {
 public:
  Implementation(FileLock lock, SqliteHandle db, Statement insert, Statement slice)
      : lock_(std::move(lock)),
        db_(std::move(db)),
        insert_(std::move(insert)),
        slice_(std::move(slice)) {
    sqlite3_wal_hook(
        db_.get(),
        [](void* self, sqlite3*, const char*, int pages) {
          static_cast<Implementation*>(self)->wal_pages_ = pages;
          return SQLITE_OK;
        },
        this);
  }

  Result<void> FindEnd() {
    auto last = Prepare(db_.get(),
                        "SELECT first_position + count, chain FROM journal "
                        "ORDER BY first_position DESC LIMIT 1");
    if (!last) return std::unexpected(last.error());
    const int code = last->Step();
    if (code == SQLITE_DONE) return {};
    if (code != SQLITE_ROW) {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment, SqliteProblem(db_.get()));
    }
    next_position_ = static_cast<std::uint64_t>(last->Int(0));
    const auto chain = last->Blob(1);
    if (chain.size() != chain_.size()) {
      return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                  "the chain of the last row of the journal is damaged; restore it from a backup");
    }
    std::memcpy(chain_.data(), chain.data(), chain_.size());
    return {};
  }

  AppendOutcome Append(const JournalBatch& batch) override {
    CHECK(batch.count > 0 && batch.first_position == next_position_,
          "a journal has no gaps: they would be read as lost records");
    const Chain chain = chainer_.Next(chain_, batch);
    // One INSERT on its own is one transaction: all of the row is on disk, or nothing of it.
    insert_.Bind(1, static_cast<std::int64_t>(batch.first_position));
    insert_.Bind(2, static_cast<std::int64_t>(batch.count));
    insert_.Bind(3, batch.records);
    insert_.Bind(4, std::span<const std::uint8_t>(chain));
    const int code = insert_.Step();
    if (code != SQLITE_DONE) last_problem_ = SqliteProblem(db_.get());
    insert_.Reset();
    if (code != SQLITE_DONE) return Judge(code);
    next_position_ += batch.count;
    chain_ = chain;
    ++batches_;
    return wal_pages_ >= kCheckpointPages ? Checkpoint() : AppendOutcome::kDurable;
  }

  Result<void> ReadAll(const Visit& visit) override {
    auto rows = Prepare(db_.get(),
                        "SELECT first_position, count, records, chain FROM journal "
                        "ORDER BY first_position");
    if (!rows) return std::unexpected(rows.error());
    ChainReader reader(&see_chain_);
    int code = rows->Step();
    for (; code == SQLITE_ROW; code = rows->Step()) {
      if (auto taken = reader.Take(BatchIn(*rows), rows->Blob(3), visit); !taken) return taken;
    }
    const std::uint64_t next = reader.tail().position + 1;
    if (code != SQLITE_DONE) {
      return reader.Altered("journal row " + std::to_string(next) + ": " +
                            SqliteProblem(db_.get()));
    }
    CHECK(next == next_position_, "nobody but us writes between FindEnd and here");
    batches_ = reader.tail().batches;
    return {};
  }

  Result<JournalSlice> ReadSome(std::uint64_t after, std::size_t bytes_max) override {
    JournalSlice slice{.batches = {}, .tail = Tail()};
    slice_.Bind(1, static_cast<std::int64_t>(std::min<std::uint64_t>(after, INT64_MAX)));
    std::size_t bytes = 0;
    int code = slice_.Step();
    for (; code == SQLITE_ROW; code = slice_.Step()) {
      const JournalBatch batch = BatchIn(slice_);
      bytes += batch.records.size();
      const bool enough = bytes > bytes_max || slice.batches.size() == kSliceRowsMax;
      if (enough && !slice.batches.empty()) break;
      slice.batches.push_back({.first_position = batch.first_position,
                               .count = batch.count,
                               .records = {batch.records.begin(), batch.records.end()}});
      const auto chain = slice_.Blob(3);
      std::copy_n(chain.begin(), std::min(chain.size(), slice.batches.back().chain.size()),
                  slice.batches.back().chain.begin());
    }
    const std::string problem =
        code == SQLITE_ROW || code == SQLITE_DONE ? std::string() : SqliteProblem(db_.get());
    slice_.Reset();  // an open reading would keep the WAL from being taken over
    if (!problem.empty()) {
      return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                  "the journal cannot be read: " + problem);
    }
    return slice;
  }

  std::string last_problem() const override { return last_problem_; }
  JournalTail Tail() const override {
    return {.position = next_position_ - 1, .batches = batches_, .chain = chain_};
  }
  void OnChain(SeeChain see) override { see_chain_ = std::move(see); }

 private:
  // Of a row of both SELECTs; valid until the next Step.
  static JournalBatch BatchIn(const Statement& row) {
    return {.first_position = static_cast<std::uint64_t>(row.Int(0)),
            .count = static_cast<std::uint32_t>(row.Int(1)),
            .records = row.Blob(2)};
  }

  AppendOutcome Judge(int code) {
    // A failed INSERT rolls back by itself, except where SQLite cannot tell what it did.
    if (sqlite3_get_autocommit(db_.get()) == 0) {
      sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    }
    switch (code & 0xFF) {
      case SQLITE_FULL:   // ENOSPC, or a bound on the file
      case SQLITE_NOMEM:  // nothing was written yet
      case SQLITE_BUSY:
        return AppendOutcome::kNoSpace;
      default:
        return AppendOutcome::kBroken;
    }
  }

  // The batch is durable in the WAL already. No space to copy it is no harm: the WAL grows on and
  // the next commit tries again. A sync that failed is (see journal.h).
  AppendOutcome Checkpoint() {
    const int code =
        sqlite3_wal_checkpoint_v2(db_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    wal_pages_ = 0;
    if (code == SQLITE_OK || Judge(code) == AppendOutcome::kNoSpace) return AppendOutcome::kDurable;
    last_problem_ = "checkpoint: " + SqliteProblem(db_.get());
    return AppendOutcome::kBroken;
  }

  FileLock lock_;  // first in, last out: the file is closed before another process may have it
  SqliteHandle db_;
  Statement insert_;
  Statement slice_;
  Chainer chainer_;
  Chain chain_{};  // of the last row; zeros before the first
  std::uint64_t next_position_ = 1;
  std::uint64_t batches_ = 0;
  SeeChain see_chain_;
  int wal_pages_ = 0;
  std::string last_problem_;
};

}  // namespace

const char* SqliteJournal::SqliteVersion() { return sqlite3_libversion(); }

Result<std::unique_ptr<SqliteJournal>> SqliteJournal::Open(const std::string& path,
                                                           const Options& options) {
  if (sqlite3_libversion_number() < 3'037'000) {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                std::string("SQLite ") + sqlite3_libversion() +
                    " is too old: strict tables need 3.37 or newer");
  }
  if (options.read_only && ::access(path.c_str(), F_OK) != 0) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kEnvironment,
                "there is no ledger at " + path + ": " + std::strerror(errno));
  }
  auto lock = FileLock::Take(path + ".lock");
  if (!lock) return std::unexpected(lock.error());
  auto db = OpenSqlite(path);
  if (!db) return std::unexpected(db.error());
  std::string pragmas =
      "PRAGMA locking_mode=EXCLUSIVE;"  // before WAL: then it keeps its index in our memory
      "PRAGMA journal_mode=WAL;"
      "PRAGMA wal_autocheckpoint=0;"  // SQLite would swallow the errors of its own checkpoints
      "PRAGMA mmap_size=0;"
      "PRAGMA cell_size_check=ON;";
  pragmas += options.durability == config::Durability::kPower ? "PRAGMA synchronous=FULL;"
                                                              : "PRAGMA synchronous=NORMAL;";
  if (options.pages_max > 0) {
    pragmas += "PRAGMA max_page_count=" + std::to_string(options.pages_max) + ";";
  }
  // A WAL that a kill left behind is read where it lies: copying it over would be a change.
  if (options.read_only) pragmas += "PRAGMA query_only=ON;";
  if (auto set = Execute(db->get(), pragmas.c_str()); !set) {
    set.error().detail = path + ": " + set.error().detail;
    return std::unexpected(set.error());
  }
  if (options.read_only) {
    sqlite3_db_config(db->get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  if (auto version = Migrate(db->get(), "journal"); !version) {
    version.error().detail = path + ": " + version.error().detail;
    return std::unexpected(version.error());
  }
  auto insert = Prepare(db->get(),
                        "INSERT INTO journal (first_position, count, records, chain) "
                        "VALUES (?1, ?2, ?3, ?4)");
  if (!insert) return std::unexpected(insert.error());
  auto slice = Prepare(db->get(),
                       "SELECT first_position, count, records, chain FROM journal "
                       "WHERE first_position > ?1 ORDER BY first_position");
  if (!slice) return std::unexpected(slice.error());
  auto journal = std::make_unique<Implementation>(std::move(*lock), std::move(*db),
                                                  std::move(*insert), std::move(*slice));
  if (auto found = journal->FindEnd(); !found) return std::unexpected(found.error());
  return journal;
}

}  // namespace weir::store
