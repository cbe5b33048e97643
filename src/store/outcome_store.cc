#include "store/outcome_store.h"

#include <fmt/format.h>
#include <unistd.h>

#include <mutex>
#include <optional>
#include <utility>

#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr std::string_view kColumns = "scope, action, accepted, note, key, at";
constexpr std::int64_t kDeletedAtOnce = 100;

std::optional<OutcomeRecord> RecordOf(const Statement& row) {
  OutcomeRecord outcome{.scope = std::string(row.Text(0)),
                        .action = std::string(row.Text(1)),
                        .accepted = row.Int(2) != 0,
                        .note = std::string(row.Text(3)),
                        .at = Instant{row.Int(5)}};
  const auto key = ParseId(row.Text(4));
  if (!key) return std::nullopt;
  outcome.key = KeyId{*key};
  return outcome;
}

}  // namespace

struct OutcomeStore::State {
  std::string path;
  SqliteHandle db;
  Options options;
  mutable std::mutex mutex;  // of the one connection

  std::unexpected<Error> Unusable() const {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("{}: {}", path, SqliteProblem(db.get())));
  }
  std::unexpected<Error> Damaged() const {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("{}: an outcome is damaged; restore the file from a backup", path));
  }
  Result<std::vector<OutcomeRecord>> Of(std::string_view scope, std::string_view action,
                                        std::int64_t limit) const;
  Result<void> Write(const OutcomeRecord& outcome);
  Result<void> Run(Result<Statement> statement, const std::function<void(Statement&)>& bind);
};

Result<std::vector<OutcomeRecord>> OutcomeStore::State::Of(std::string_view scope,
                                                           std::string_view action,
                                                           std::int64_t limit) const {
  auto read = Prepare(db.get(), fmt::format("SELECT {} FROM outcome WHERE scope = ?1 AND "
                                            "action = ?2 ORDER BY sequence DESC LIMIT ?3",
                                            kColumns));
  if (!read) return std::unexpected(read.error());
  read->Bind(1, scope);
  read->Bind(2, action);
  read->Bind(3, limit);
  std::vector<OutcomeRecord> outcomes;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    auto outcome = RecordOf(*read);
    if (!outcome) return Damaged();
    outcomes.push_back(*std::move(outcome));
  }
  if (step != SQLITE_DONE) return Unusable();
  return outcomes;
}

Result<void> OutcomeStore::State::Run(Result<Statement> statement,
                                      const std::function<void(Statement&)>& bind) {
  if (!statement) return std::unexpected(statement.error());
  bind(*statement);
  if (statement->Step() != SQLITE_DONE) return Unusable();
  return {};
}

Result<void> OutcomeStore::State::Write(const OutcomeRecord& outcome) {
  const std::string key = ToString(outcome.key);
  if (auto begun = Execute(db.get(), "BEGIN IMMEDIATE"); !begun) return begun;
  auto done = Run(Prepare(db.get(),
                          "INSERT INTO outcome (scope, action, accepted, note, key, at) "
                          "VALUES (?1, ?2, ?3, ?4, ?5, ?6)"),
                  [&](Statement& insert) {
                    insert.Bind(1, outcome.scope);
                    insert.Bind(2, outcome.action);
                    insert.Bind(3, std::int64_t{outcome.accepted ? 1 : 0});
                    insert.Bind(4, outcome.note);
                    insert.Bind(5, key);
                    insert.Bind(6, outcome.at.ns);
                  });
  // Who changes their mind for ever fills no disk.
  if (done) {
    done = Run(Prepare(db.get(),
                       "DELETE FROM outcome WHERE sequence IN (SELECT sequence FROM outcome "
                       "WHERE scope = ?1 AND action = ?2 ORDER BY sequence DESC LIMIT -1 "
                       "OFFSET ?3)"),
               [&](Statement& prune) {
                 prune.Bind(1, outcome.scope);
                 prune.Bind(2, outcome.action);
                 prune.Bind(3, static_cast<std::int64_t>(kOutcomesKept));
               });
  }
  if (done) {
    done = Run(Prepare(db.get(),
                       "DELETE FROM outcome WHERE sequence IN (SELECT sequence FROM outcome "
                       "WHERE at < ?1 ORDER BY at LIMIT ?2)"),
               [&](Statement& expire) {
                 expire.Bind(1, outcome.at.ns - options.keep.ns);
                 expire.Bind(2, kDeletedAtOnce);
               });
  }
  if (done) done = Execute(db.get(), "COMMIT");
  if (!done) (void)Execute(db.get(), "ROLLBACK");  // fails only when SQLite has done so itself
  return done;
}

OutcomeStore::OutcomeStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
OutcomeStore::~OutcomeStore() = default;

Result<std::unique_ptr<OutcomeStore>> OutcomeStore::Open(const std::string& path, Options options) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->options = options;
  auto db = OpenSqlite(path);
  if (!db) return std::unexpected(db.error());
  state->db = *std::move(db);
  // WAL, so that a report reads beside it; synced, because who was told that it is noted may have
  // no other copy.
  if (auto set = Execute(state->db.get(),
                         "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
                         "PRAGMA busy_timeout=2000");
      !set) {
    return std::unexpected(set.error());
  }
  if (auto version = Migrate(state->db.get(), "outcomes"); !version) {
    version.error().detail = path + ": " + version.error().detail;
    return std::unexpected(version.error());
  }
  return std::unique_ptr<OutcomeStore>(new OutcomeStore(std::move(state)));
}

Result<std::unique_ptr<OutcomeStore>> OutcomeStore::OpenToRead(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kEnvironment, "there is no " + path);
  }
  auto state = std::make_unique<State>();
  state->path = path;
  auto db = OpenSqlite(path, true);
  if (!db) return std::unexpected(db.error());
  state->db = *std::move(db);
  if (auto set = Execute(state->db.get(), "PRAGMA busy_timeout=2000; PRAGMA query_only=ON"); !set) {
    return std::unexpected(set.error());
  }
  return std::unique_ptr<OutcomeStore>(new OutcomeStore(std::move(state)));
}

Result<OutcomeRecord> OutcomeStore::Tell(const OutcomeRecord& outcome) {
  const std::scoped_lock lock(state_->mutex);
  auto before = state_->Of(outcome.scope, outcome.action, 1);
  if (!before) return std::unexpected(before.error());
  if (!before->empty() && before->front().accepted == outcome.accepted &&
      before->front().note == outcome.note) {
    return std::move(before->front());
  }
  if (auto written = state_->Write(outcome); !written) return std::unexpected(written.error());
  return outcome;
}

Result<std::vector<OutcomeRecord>> OutcomeStore::Of(std::string_view scope,
                                                    std::string_view action) const {
  const std::scoped_lock lock(state_->mutex);
  return state_->Of(scope, action, static_cast<std::int64_t>(kOutcomesKept));
}

Result<void> OutcomeStore::ForEach(Instant from,
                                   const std::function<void(const OutcomeRecord&)>& take) const {
  const std::scoped_lock lock(state_->mutex);
  auto read = Prepare(
      state_->db.get(),
      fmt::format("SELECT {} FROM outcome WHERE sequence IN (SELECT max(sequence) FROM outcome "
                  "WHERE at >= ?1 GROUP BY scope, action) ORDER BY sequence",
                  kColumns));
  if (!read) return std::unexpected(read.error());
  read->Bind(1, from.ns);
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    const auto outcome = RecordOf(*read);
    if (!outcome) return state_->Damaged();
    take(*outcome);
  }
  if (step != SQLITE_DONE) return state_->Unusable();
  return {};
}

}  // namespace weir::store
