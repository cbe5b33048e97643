#include "store/sqlite_journal.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

// The WAL is copied into the file when it has grown to this many pages of 4 KiB: 16 MiB. Rarely
// enough that its two syncs do not show in the latency of commits, often enough for a short start.
constexpr int kCheckpointPages = 4096;

using Chain = std::array<std::uint8_t, 32>;

struct DigestFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

struct MethodFree {
  void operator()(EVP_MD* method) const { EVP_MD_free(method); }
};

// Computes the chain of one row after another. Keeps its context and its method: to make the one
// and to look the other up by name each time costs more than to hash a row of a few records.
class Chainer {
 public:
  Chainer() : method_(EVP_MD_fetch(nullptr, "SHA256", nullptr)), context_(EVP_MD_CTX_new()) {
    CHECK(method_ != nullptr && context_ != nullptr, "SHA-256 needs no memory to speak of");
  }
  Chain Next(const Chain& before, const JournalBatch& batch) {
    std::array<std::uint8_t, 12> numbers{};
    for (std::size_t i = 0; i < 8; ++i) {
      numbers[i] = static_cast<std::uint8_t>(batch.first_position >> (8 * i));
    }
    for (std::size_t i = 0; i < 4; ++i) {
      numbers[8 + i] = static_cast<std::uint8_t>(batch.count >> (8 * i));
    }
    Chain chain{};
    const bool done =
        EVP_DigestInit_ex(context_.get(), method_.get(), nullptr) == 1 &&
        EVP_DigestUpdate(context_.get(), before.data(), before.size()) == 1 &&
        EVP_DigestUpdate(context_.get(), numbers.data(), numbers.size()) == 1 &&
        EVP_DigestUpdate(context_.get(), batch.records.data(), batch.records.size()) == 1 &&
        EVP_DigestFinal_ex(context_.get(), chain.data(), nullptr) == 1;
    CHECK(done, "SHA-256 does not fail");
    return chain;
  }

 private:
  std::unique_ptr<EVP_MD, MethodFree> method_;
  std::unique_ptr<EVP_MD_CTX, DigestFree> context_;
};

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
  Implementation(FileLock lock, SqliteHandle db, Statement insert)
      : lock_(std::move(lock)), db_(std::move(db)), insert_(std::move(insert)) {
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
    Chain chain{};
    std::uint64_t expected = 1;
    batches_ = 0;
    int code = rows->Step();
    for (; code == SQLITE_ROW; code = rows->Step(), ++batches_) {
      const JournalBatch batch{.first_position = static_cast<std::uint64_t>(rows->Int(0)),
                               .count = static_cast<std::uint32_t>(rows->Int(1)),
                               .records = rows->Blob(2)};
      const std::string where = "journal row " + std::to_string(batch.first_position);
      const auto altered = [&](const std::string& what) {
        std::string sentence = where;
        sentence += ": ";
        sentence += what;
        return Altered(std::move(sentence), expected);
      };
      if (batch.first_position != expected) {
        return altered("records from " + std::to_string(expected) + " are missing");
      }
      chain = chainer_.Next(chain, batch);
      const auto stored = rows->Blob(3);
      if (stored.size() != chain.size() ||
          std::memcmp(stored.data(), chain.data(), chain.size()) != 0) {
        return altered("its chain does not fit, so it or a row before it was changed");
      }
      if (auto problem = visit(batch)) return altered(*problem);
      expected += batch.count;
      if (see_chain_) see_chain_(expected - 1, chain);
    }
    if (code != SQLITE_DONE) {
      return Altered("journal row " + std::to_string(expected) + ": " + SqliteProblem(db_.get()),
                     expected);
    }
    CHECK(expected == next_position_, "nobody but us writes between FindEnd and here");
    return {};
  }

  std::string last_problem() const override { return last_problem_; }
  JournalTail Tail() const override {
    return {.position = next_position_ - 1, .batches = batches_, .chain = chain_};
  }
  void OnChain(SeeChain see) override { see_chain_ = std::move(see); }

 private:
  static std::unexpected<Error> Altered(std::string what, std::uint64_t expected) {
    return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                std::move(what) + "; the last good position is " + std::to_string(expected - 1) +
                    ". Restore the journal from a backup");
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
  auto journal =
      std::make_unique<Implementation>(std::move(*lock), std::move(*db), std::move(*insert));
  if (auto found = journal->FindEnd(); !found) return std::unexpected(found.error());
  return journal;
}

}  // namespace weir::store
