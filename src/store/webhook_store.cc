#include "store/webhook_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr std::int64_t kListMax = 1000;
constexpr std::int64_t kPruneMax = 500;

constexpr std::string_view kDeliveryColumns =
    "d.id, d.endpoint, e.id, e.type, e.time, d.state, d.attempts, d.created_at, d.next_at, "
    "d.last_at, d.last_status, d.last_error";

std::optional<Instant> OptionalInstant(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return Instant{row.Int(column)};
}

Delivery DeliveryOf(const Statement& row) {
  Delivery delivery;
  delivery.id = {row.Int(0)};
  delivery.endpoint = row.Text(1);
  delivery.event_id = row.Text(2);
  delivery.event_type = row.Text(3);
  delivery.event_time = {row.Int(4)};
  delivery.state = static_cast<DeliveryState>(row.Int(5));  // the table checks it
  delivery.attempts = row.Int(6);
  delivery.created_at = {row.Int(7)};
  delivery.next_at = {row.Int(8)};
  delivery.last_at = OptionalInstant(row, 9);
  delivery.last_status = row.Int(10);
  delivery.last_error = row.Text(11);
  return delivery;
}

EndpointState StateOf(const EndpointRecord& record) {
  if (record.disabled_at) return EndpointState::kDisabled;
  if (record.failing_since) return EndpointState::kFailing;
  return record.erring_since ? EndpointState::kErring : EndpointState::kOk;
}

}  // namespace

struct WebhookStore::State {
  std::string path;
  Options options;
  SqliteHandle db;
  mutable std::mutex mutex;  // of the one connection

  std::unexpected<Error> Unusable() const {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("{}: {}", path, SqliteProblem(db.get())));
  }

  // `body` in one transaction.
  template <class Body>
  Result<void> Together(Body&& body) {
    if (auto begun = Execute(db.get(), "BEGIN IMMEDIATE"); !begun) return Unusable();
    Result<void> done = body();
    if (done && !Execute(db.get(), "COMMIT")) done = Unusable();
    if (!done) (void)Execute(db.get(), "ROLLBACK");  // fails only when SQLite has done so itself
    return done;
  }

  // A statement that changes rows: its parameters bound by `bind`, then run.
  template <class Bind>
  Result<std::int64_t> Change(std::string_view sql, Bind&& bind) {
    auto write = Prepare(db.get(), sql);
    if (!write) return Unusable();
    bind(*write);
    if (write->Step() != SQLITE_DONE) return Unusable();
    return sqlite3_changes64(db.get());
  }
  // One that gives a number.
  template <class Bind>
  Result<std::int64_t> Number(std::string_view sql, Bind&& bind) const {
    auto read = Prepare(db.get(), sql);
    if (!read) return Unusable();
    bind(*read);
    if (read->Step() != SQLITE_ROW) return Unusable();
    return read->Int(0);
  }

  Result<std::optional<EndpointRecord>> ReadEndpoint(std::string_view name) const;
  Result<std::int64_t> Reopen(std::string_view endpoint, Instant now);
  Result<void> ConfigureOne(const Known& known, Instant now);
  Result<void> AddOne(const Addition& addition, Instant now,
                      std::map<std::string, std::int64_t, std::less<>>& pending, Added& added);
  Result<void> RecordDelivery(const Attempt& attempt);
  Result<void> RecordEndpoint(const Attempt& attempt);
  Result<std::int64_t> DeleteSome(std::string_view choose, std::int64_t bound);
};

Result<std::optional<EndpointRecord>> WebhookStore::State::ReadEndpoint(
    std::string_view name) const {
  auto read = Prepare(db.get(),
                      "SELECT disabled_at, failing_since, erring_since, last_success_at, last_at, "
                      "last_status, last_error, (SELECT count(*) FROM delivery WHERE endpoint = ?1 "
                      "AND state = 0) FROM endpoint WHERE name = ?1");
  if (!read) return Unusable();
  read->Bind(1, name);
  const int step = read->Step();
  if (step == SQLITE_DONE) return std::nullopt;
  if (step != SQLITE_ROW) return Unusable();
  EndpointRecord record{.name = std::string(name),
                        .disabled_at = OptionalInstant(*read, 0),
                        .failing_since = OptionalInstant(*read, 1),
                        .erring_since = OptionalInstant(*read, 2),
                        .last_success_at = OptionalInstant(*read, 3),
                        .last_at = OptionalInstant(*read, 4),
                        .last_status = read->Int(5),
                        .last_error = std::string(read->Text(6)),
                        .pending = read->Int(7)};
  record.state = StateOf(record);
  return record;
}

// What was held back of a disabled endpoint, as far as it is recent, is due now.
Result<std::int64_t> WebhookStore::State::Reopen(std::string_view endpoint, Instant now) {
  return Change(
      "UPDATE delivery SET state = 0, attempts = 0, next_at = ?2 "
      "WHERE endpoint = ?1 AND state = 3 AND created_at >= ?3",
      [&](Statement& write) {
        write.Bind(1, endpoint);
        write.Bind(2, now.ns);
        write.Bind(3, now.ns - options.enable_reach.ns);
      });
}

Result<void> WebhookStore::State::ConfigureOne(const Known& known, Instant now) {
  auto read = Prepare(db.get(), "SELECT url_digest = ?2 FROM endpoint WHERE name = ?1");
  if (!read) return Unusable();
  read->Bind(1, known.name);
  read->Bind(2, std::span<const std::uint8_t>(known.url_digest));
  const int step = read->Step();
  if (step != SQLITE_ROW && step != SQLITE_DONE) return Unusable();
  if (step == SQLITE_ROW && read->Int(0) != 0) return {};
  const bool another = step == SQLITE_ROW;
  read->Reset();
  const auto written = Change("INSERT OR REPLACE INTO endpoint (name, url_digest) VALUES (?1, ?2)",
                              [&](Statement& write) {
                                write.Bind(1, known.name);
                                write.Bind(2, std::span<const std::uint8_t>(known.url_digest));
                              });
  if (!written) return std::unexpected(written.error());
  if (!another) return {};
  const auto reopened = Reopen(known.name, now);
  if (!reopened) return std::unexpected(reopened.error());
  return {};
}

WebhookStore::WebhookStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
WebhookStore::~WebhookStore() = default;

Result<std::unique_ptr<WebhookStore>> WebhookStore::Open(const std::string& path,
                                                         const Options& options) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->options = options;
  auto db = OpenSqlite(path);
  if (!db) return std::unexpected(db.error());
  state->db = *std::move(db);
  const char* pragmas = options.durability == config::Durability::kPower
                            ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"
                            : "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL";
  if (auto set = Execute(state->db.get(), pragmas); !set) {
    set.error().detail = path + ": " + set.error().detail;
    return std::unexpected(set.error());
  }
  if (auto version = Migrate(state->db.get(), "webhooks"); !version) {
    version.error().detail = path + ": " + version.error().detail;
    return std::unexpected(version.error());
  }
  return std::unique_ptr<WebhookStore>(new WebhookStore(std::move(state)));
}

Result<void> WebhookStore::Configure(std::span<const Known> endpoints, Instant now) {
  const std::scoped_lock lock(state_->mutex);
  return state_->Together([&]() -> Result<void> {
    for (const Known& known : endpoints) {
      if (auto done = state_->ConfigureOne(known, now); !done) return done;
    }
    return {};
  });
}

Result<void> WebhookStore::State::AddOne(const Addition& addition, Instant now,
                                         std::map<std::string, std::int64_t, std::less<>>& pending,
                                         Added& added) {
  const telemetry::Event& event = addition.event;
  const auto inserted = Change(
      "INSERT INTO event (id, type, time, data) VALUES (?1, ?2, ?3, ?4) "
      "ON CONFLICT (id) DO NOTHING",
      [&](Statement& write) {
        write.Bind(1, event.id);
        write.Bind(2, event.type);
        write.Bind(3, event.time.ns);
        write.Bind(4, event.data);
      });
  if (!inserted) return std::unexpected(inserted.error());
  if (*inserted == 0) return {};  // known: told already, or on its way
  const std::int64_t sequence = sqlite3_last_insert_rowid(db.get());
  std::int64_t kept = 0;
  for (const std::string& endpoint : addition.endpoints) {
    auto known = pending.find(endpoint);
    if (known == pending.end()) {
      const auto count = Number("SELECT count(*) FROM delivery WHERE endpoint = ?1 AND state = 0",
                                [&](Statement& read) { read.Bind(1, endpoint); });
      if (!count) return std::unexpected(count.error());
      known = pending.emplace(endpoint, *count).first;
    }
    if (known->second >= options.pending_per_endpoint_max) {
      ++added.dropped;
      continue;
    }
    // To a disabled endpoint: kept, for the day it is enabled.
    const auto written = Change(
        "INSERT INTO delivery (event, endpoint, state, created_at, next_at) VALUES "
        "(?1, ?2, CASE WHEN EXISTS (SELECT 1 FROM endpoint WHERE name = ?2 AND disabled_at "
        "IS NOT NULL) THEN 3 ELSE 0 END, ?3, ?3)",
        [&](Statement& write) {
          write.Bind(1, sequence);
          write.Bind(2, endpoint);
          write.Bind(3, now.ns);
        });
    if (!written) return std::unexpected(written.error());
    added.last = {sqlite3_last_insert_rowid(db.get())};
    ++known->second;
    ++kept;
  }
  added.deliveries += kept;
  if (kept > 0) return {};
  // Nobody is told of it: as if it had not been offered.
  const auto removed = Change("DELETE FROM event WHERE sequence = ?1",
                              [&](Statement& write) { write.Bind(1, sequence); });
  if (!removed) return std::unexpected(removed.error());
  return {};
}

Result<WebhookStore::Added> WebhookStore::Add(std::span<const Addition> additions,
                                              std::optional<std::int64_t> position, Instant now) {
  const std::scoped_lock lock(state_->mutex);
  Added added;
  auto done = state_->Together([&]() -> Result<void> {
    std::map<std::string, std::int64_t, std::less<>> pending;
    for (const Addition& addition : additions) {
      if (auto one = state_->AddOne(addition, now, pending, added); !one) return one;
    }
    if (!position) return {};
    const auto moved =
        state_->Change("INSERT OR REPLACE INTO journal_cursor (one, position) VALUES (1, ?1)",
                       [&](Statement& write) { write.Bind(1, *position); });
    if (!moved) return std::unexpected(moved.error());
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return added;
}

Result<std::optional<std::int64_t>> WebhookStore::Position() const {
  const std::scoped_lock lock(state_->mutex);
  auto read = Prepare(state_->db.get(), "SELECT position FROM journal_cursor");
  if (!read) return state_->Unusable();
  const int step = read->Step();
  if (step == SQLITE_DONE) return std::nullopt;
  if (step != SQLITE_ROW) return state_->Unusable();
  return read->Int(0);
}

Result<void> WebhookStore::ForgetPosition() {
  const std::scoped_lock lock(state_->mutex);
  const auto done = state_->Change("DELETE FROM journal_cursor", [](Statement&) {});
  if (!done) return std::unexpected(done.error());
  return {};
}

Result<std::vector<DueDelivery>> WebhookStore::Pending(std::string_view endpoint,
                                                       std::size_t limit) const {
  const std::scoped_lock lock(state_->mutex);
  auto read = Prepare(state_->db.get(),
                      "SELECT d.id, d.attempts, d.next_at, e.id, e.type, e.time, e.data "
                      "FROM delivery d JOIN event e ON e.sequence = d.event "
                      "WHERE d.endpoint = ?1 AND d.state = 0 ORDER BY d.next_at, d.id LIMIT ?2");
  if (!read) return state_->Unusable();
  read->Bind(1, endpoint);
  read->Bind(2, static_cast<std::int64_t>(limit));
  std::vector<DueDelivery> due;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    due.push_back({.id = {read->Int(0)},
                   .attempts = read->Int(1),
                   .next_at = {read->Int(2)},
                   .event = {.id = std::string(read->Text(3)),
                             .type = std::string(read->Text(4)),
                             .time = {read->Int(5)},
                             .data = std::string(read->Text(6))}});
  }
  if (step != SQLITE_DONE) return state_->Unusable();
  return due;
}

Result<void> WebhookStore::State::RecordDelivery(const Attempt& attempt) {
  using enum Attempt::Verdict;
  const DeliveryState state = attempt.verdict == kDelivered ? DeliveryState::kDelivered
                              : attempt.verdict == kRetry   ? DeliveryState::kPending
                              : attempt.verdict == kFailed  ? DeliveryState::kFailed
                                                            : DeliveryState::kDisabled;
  const auto written = Change(
      "UPDATE delivery SET state = ?2, attempts = attempts + 1, next_at = ?3, last_at = ?4, "
      "last_status = ?5, last_error = ?6 WHERE id = ?1 AND (state = 0 OR ?2 = 1)",
      [&](Statement& write) {
        write.Bind(1, attempt.delivery.n);
        write.Bind(2, static_cast<std::int64_t>(state));
        write.Bind(3, attempt.verdict == kRetry ? attempt.next_at.ns : attempt.at.ns);
        write.Bind(4, attempt.at.ns);
        write.Bind(5, attempt.status);
        write.Bind(6, attempt.error);
      });
  if (!written) return std::unexpected(written.error());
  if (attempt.verdict != kDisable) return {};
  const auto held = Change("UPDATE delivery SET state = 3 WHERE endpoint = ?1 AND state = 0",
                           [&](Statement& write) { write.Bind(1, attempt.endpoint); });
  if (!held) return std::unexpected(held.error());
  return {};
}

Result<void> WebhookStore::State::RecordEndpoint(const Attempt& attempt) {
  using enum Attempt::Verdict;
  const auto bind = [&](Statement& write) {
    write.Bind(1, attempt.endpoint);
    write.Bind(2, attempt.at.ns);
    write.Bind(3, attempt.status);
    write.Bind(4, attempt.error);
    if (attempt.verdict == kDelivered) return;
    write.Bind(5, std::int64_t{attempt.verdict == kFailed});
    write.Bind(6, std::int64_t{attempt.verdict == kDisable});
  };
  const auto written = Change(
      attempt.verdict == kDelivered
          ? "UPDATE endpoint SET failing_since = NULL, erring_since = NULL, last_success_at = ?2, "
            "last_at = ?2, last_status = ?3, last_error = ?4 WHERE name = ?1"
          : "UPDATE endpoint SET erring_since = coalesce(erring_since, ?2), "
            "failing_since = CASE WHEN ?5 THEN coalesce(failing_since, ?2) ELSE failing_since END, "
            "disabled_at = CASE WHEN ?6 THEN coalesce(disabled_at, ?2) ELSE disabled_at END, "
            "last_at = ?2, last_status = ?3, last_error = ?4 WHERE name = ?1",
      bind);
  if (!written) return std::unexpected(written.error());
  return {};
}

Result<WebhookStore::Change> WebhookStore::Record(const Attempt& attempt) {
  const std::scoped_lock lock(state_->mutex);
  WebhookStore::Change change;
  auto done = state_->Together([&]() -> Result<void> {
    const auto before = state_->ReadEndpoint(attempt.endpoint);
    if (!before) return std::unexpected(before.error());
    if (*before) change.before = (*before)->state;
    if (auto written = state_->RecordDelivery(attempt); !written) return written;
    if (auto written = state_->RecordEndpoint(attempt); !written) return written;
    const auto after = state_->ReadEndpoint(attempt.endpoint);
    if (!after) return std::unexpected(after.error());
    if (*after) change.now = (*after)->state;
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return change;
}

Result<std::vector<Delivery>> WebhookStore::List(const DeliveryQuery& query) const {
  const std::scoped_lock lock(state_->mutex);
  auto read = Prepare(state_->db.get(),
                      fmt::format("SELECT {} FROM delivery d JOIN event e ON e.sequence = d.event "
                                  "WHERE d.id < ?1 {} {} ORDER BY d.id DESC LIMIT ?2",
                                  kDeliveryColumns, query.endpoint ? "AND d.endpoint = ?3" : "",
                                  query.state ? "AND d.state = ?4" : ""));
  if (!read) return state_->Unusable();
  read->Bind(1, query.before ? query.before->n : INT64_MAX);
  read->Bind(2, std::clamp<std::int64_t>(query.limit, 1, kListMax));
  if (query.endpoint) read->Bind(3, *query.endpoint);
  if (query.state) read->Bind(4, static_cast<std::int64_t>(*query.state));
  std::vector<Delivery> deliveries;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) deliveries.push_back(DeliveryOf(*read));
  if (step != SQLITE_DONE) return state_->Unusable();
  return deliveries;
}

Result<std::optional<Delivery>> WebhookStore::Find(DeliveryId id) const {
  const std::scoped_lock lock(state_->mutex);
  auto read =
      Prepare(state_->db.get(), fmt::format("SELECT {} FROM delivery d JOIN event e ON e.sequence "
                                            "= d.event WHERE d.id = ?1",
                                            kDeliveryColumns));
  if (!read) return state_->Unusable();
  read->Bind(1, id.n);
  const int step = read->Step();
  if (step == SQLITE_DONE) return std::nullopt;
  if (step != SQLITE_ROW) return state_->Unusable();
  return DeliveryOf(*read);
}

Result<Delivery> WebhookStore::Retry(DeliveryId id, Instant now) {
  const auto found = Find(id);
  if (!found) return std::unexpected(found.error());
  if (!*found) return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, "no such delivery");
  {
    const std::scoped_lock lock(state_->mutex);
    const auto endpoint = state_->ReadEndpoint((*found)->endpoint);
    if (!endpoint) return std::unexpected(endpoint.error());
    if (*endpoint && (*endpoint)->disabled_at) {
      return Fail(ErrorCode::kConflict, ErrorSource::kCaller, "the endpoint is disabled");
    }
    const auto written = state_->Change(
        "UPDATE delivery SET attempts = CASE WHEN state = 0 THEN attempts ELSE 0 END, state = 0, "
        "next_at = ?2 WHERE id = ?1",
        [&](Statement& write) {
          write.Bind(1, id.n);
          write.Bind(2, now.ns);
        });
    if (!written) return std::unexpected(written.error());
  }
  auto after = Find(id);
  if (!after) return std::unexpected(after.error());
  if (!*after) return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, "no such delivery");
  return **std::move(after);
}

Result<std::int64_t> WebhookStore::Enable(std::string_view endpoint, Instant now) {
  const std::scoped_lock lock(state_->mutex);
  std::int64_t reopened = 0;
  auto done = state_->Together([&]() -> Result<void> {
    const auto enabled = state_->Change(
        "UPDATE endpoint SET disabled_at = NULL, failing_since = NULL, erring_since "
        "= NULL WHERE name = ?1 AND disabled_at IS NOT NULL",
        [&](Statement& write) { write.Bind(1, endpoint); });
    if (!enabled) return std::unexpected(enabled.error());
    if (*enabled == 0) return {};
    const auto held = state_->Reopen(endpoint, now);
    if (!held) return std::unexpected(held.error());
    reopened = *held;
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return reopened;
}

Result<std::optional<EndpointRecord>> WebhookStore::Endpoint(std::string_view name) const {
  const std::scoped_lock lock(state_->mutex);
  return state_->ReadEndpoint(name);
}

Result<std::int64_t> WebhookStore::PendingCount() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->Number("SELECT count(*) FROM delivery WHERE state = 0", [](Statement&) {});
}

// Deletes the deliveries that `choose` (with its bound as ?1) gives, and events that are nobody's
// then.
Result<std::int64_t> WebhookStore::State::DeleteSome(std::string_view choose, std::int64_t bound) {
  struct Row {
    std::int64_t id;
    std::int64_t event;
  };
  std::vector<Row> rows;
  auto read = Prepare(db.get(), choose);
  if (!read) return Unusable();
  read->Bind(1, bound);
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) rows.push_back({read->Int(0), read->Int(1)});
  if (step != SQLITE_DONE) return Unusable();
  read->Reset();
  auto forget = Prepare(db.get(), "DELETE FROM delivery WHERE id = ?1");
  auto forget_event = Prepare(db.get(),
                              "DELETE FROM event WHERE sequence = ?1 AND NOT EXISTS "
                              "(SELECT 1 FROM delivery WHERE event = ?1)");
  if (!forget || !forget_event) return Unusable();
  for (const Row& row : rows) {
    forget->Bind(1, row.id);
    if (forget->Step() != SQLITE_DONE) return Unusable();
    forget->Reset();
    forget_event->Bind(1, row.event);
    if (forget_event->Step() != SQLITE_DONE) return Unusable();
    forget_event->Reset();
  }
  return static_cast<std::int64_t>(rows.size());
}

Result<std::int64_t> WebhookStore::Prune(Instant now) {
  const std::scoped_lock lock(state_->mutex);
  std::int64_t deleted = 0;
  auto done = state_->Together([&]() -> Result<void> {
    // Ids are in the order of their time but for what a clock that was set back did.
    const auto old = state_->DeleteSome(
        fmt::format("SELECT id, event FROM delivery WHERE created_at < ?1 ORDER BY id LIMIT {}",
                    kPruneMax),
        now.ns - state_->options.keep.ns);
    if (!old) return std::unexpected(old.error());
    const auto rows = state_->Number(
        "SELECT (SELECT count(*) FROM delivery) - (SELECT count(*) FROM delivery WHERE state = 0)",
        [](Statement&) {});
    if (!rows) return std::unexpected(rows.error());
    const std::int64_t too_many = *rows - state_->options.rows_max;
    deleted = *old;
    if (too_many <= 0) return {};
    const auto oldest =
        state_->DeleteSome("SELECT id, event FROM delivery WHERE state != 0 ORDER BY id LIMIT ?1",
                           std::min(too_many, kPruneMax));
    if (!oldest) return std::unexpected(oldest.error());
    deleted += *oldest;
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return deleted;
}

}  // namespace weir::store
