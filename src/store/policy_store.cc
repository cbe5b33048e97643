#include "store/policy_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr std::string_view kVersionColumns = "id, version, json, created_at, operator, retired_at";
constexpr std::string_view kApprovalColumns =
    "id, policy, counter, unit, requester, reason, asked_amount, asked_duration, asked_from, "
    "asked_at, decide_by, state, decided_by, decided_at, decision, amount, starts_at, ends_at, "
    "rollback_owner, ended_at, ended_by, review, reviewed_by, reviewed_at";
constexpr std::int64_t kListMax = 1000;

std::optional<Instant> OptionalInstant(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return Instant{row.Int(column)};
}

void BindOptional(Statement& statement, int at, const std::optional<Instant>& instant) {
  if (instant) {
    statement.Bind(at, instant->ns);
  } else {
    statement.BindNull(at);
  }
}

void BindTextIf(Statement& statement, int at, bool is_there, std::string_view text) {
  if (is_there) {
    statement.Bind(at, text);
  } else {
    statement.BindNull(at);
  }
}

PolicyVersion VersionOf(const Statement& row) {
  return {.id = std::string(row.Text(0)),
          .version = static_cast<std::uint32_t>(row.Int(1)),
          .json = std::string(row.Text(2)),
          .created_at = Instant{row.Int(3)},
          .created_by = std::string(row.Text(4)),
          .retired_at = OptionalInstant(row, 5)};
}

std::optional<Approval> ApprovalOf(const Statement& row) {
  Approval approval;
  const auto id = ParseId(row.Text(0));
  const std::int64_t unit = row.Int(3), state = row.Int(11);
  if (!id || unit < 0 || unit >= static_cast<std::int64_t>(config::kQuotaUnits) || state < 1 ||
      state > 6) {
    return std::nullopt;
  }
  approval.id = ApprovalId{*id};
  approval.policy = row.Text(1);
  approval.counter = row.Text(2);
  approval.unit = static_cast<config::QuotaUnit>(unit);
  approval.requester = row.Text(4);
  approval.reason = row.Text(5);
  approval.asked_amount = row.Int(6);
  approval.asked_duration = Duration{row.Int(7)};
  approval.asked_from = OptionalInstant(row, 8);
  approval.asked_at = Instant{row.Int(9)};
  approval.decide_by = Instant{row.Int(10)};
  approval.state = static_cast<ApprovalState>(state);
  approval.decided_by = row.Text(12);
  approval.decided_at = OptionalInstant(row, 13);
  approval.decision = row.Text(14);
  if (!row.IsNull(15)) {
    approval.granted = ApprovalGrant{
        .amount = row.Int(15), .starts_at = Instant{row.Int(16)}, .ends_at = Instant{row.Int(17)}};
    if (approval.granted->amount < 1 || approval.granted->amount > config::kQuotaMax) {
      return std::nullopt;
    }
  }
  approval.rollback_owner = row.Text(18);
  approval.ended_at = OptionalInstant(row, 19);
  approval.ended_by = row.Text(20);
  approval.review = row.Text(21);
  approval.reviewed_by = row.Text(22);
  approval.reviewed_at = OptionalInstant(row, 23);
  return approval;
}

}  // namespace

struct PolicyStore::State {
  std::string path;
  SqliteHandle db;
  mutable std::mutex mutex;  // guards the head, and the one connection
  AuditHead head;            // as on disk

  std::unexpected<Error> Unusable() const {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("{}: {}", path, SqliteProblem(db.get())));
  }
  std::unexpected<Error> Damaged() const {
    return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
                fmt::format("{}: an approval is damaged; restore the file from a backup", path));
  }

  // `body` and the row that tells of it, in one transaction.
  template <class Body>
  Result<void> Together(const AuditEvent& event, Body&& body) {
    if (auto begun = Execute(db.get(), "BEGIN IMMEDIATE"); !begun) return begun;
    Result<void> done = body();
    AuditHead next;
    if (done) {
      const auto appended = AppendAudit(db.get(), head, event);
      if (appended) {
        next = *appended;
      } else {
        done = std::unexpected(appended.error());
      }
    }
    if (done) done = Execute(db.get(), "COMMIT");
    if (!done) {
      (void)Execute(db.get(), "ROLLBACK");  // fails only when SQLite has done so itself
      return done;
    }
    head = next;
    return {};
  }

  Result<std::int64_t> Number(std::string_view sql, std::string_view text = {}) const {
    auto read = Prepare(db.get(), sql);
    if (!read) return std::unexpected(read.error());
    if (!text.empty()) read->Bind(1, text);
    if (read->Step() != SQLITE_ROW) return Unusable();
    return read->Int(0);
  }

  Result<std::vector<PolicyVersion>> ReadVersions(std::string_view where,
                                                  std::string_view id = {}) const {
    auto read =
        Prepare(db.get(), fmt::format("SELECT {} FROM policy_versions {}", kVersionColumns, where));
    if (!read) return std::unexpected(read.error());
    if (!id.empty()) read->Bind(1, id);
    std::vector<PolicyVersion> versions;
    int step = read->Step();
    for (; step == SQLITE_ROW; step = read->Step()) versions.push_back(VersionOf(*read));
    if (step != SQLITE_DONE) return Unusable();
    return versions;
  }

  // `bind` binds what `where` asks for.
  template <class BindAll>
  Result<std::vector<Approval>> ReadApprovals(std::string_view where, BindAll&& bind) const {
    auto read =
        Prepare(db.get(), fmt::format("SELECT {} FROM approvals {}", kApprovalColumns, where));
    if (!read) return std::unexpected(read.error());
    bind(*read);
    std::vector<Approval> approvals;
    int step = read->Step();
    for (; step == SQLITE_ROW; step = read->Step()) {
      auto approval = ApprovalOf(*read);
      if (!approval) return Damaged();
      approvals.push_back(*std::move(approval));
    }
    if (step != SQLITE_DONE) return Unusable();
    return approvals;
  }

  Result<std::uint32_t> Next(std::string_view id) const {
    auto newest = Number("SELECT coalesce(max(version), 0) FROM policy_versions WHERE id = ?1", id);
    if (!newest) return std::unexpected(newest.error());
    return static_cast<std::uint32_t>(*newest + 1);
  }

  Result<void> RetireNow(std::string_view id, Instant at) {
    auto write = Prepare(db.get(),
                         "UPDATE policy_versions SET state = 2, retired_at = ?2 "
                         "WHERE id = ?1 AND state = 1");
    if (!write) return std::unexpected(write.error());
    write->Bind(1, id);
    write->Bind(2, at.ns);
    if (write->Step() != SQLITE_DONE) return Unusable();
    return {};
  }

  Result<void> WriteVersion(const PolicyVersion& policy);
  Result<void> WriteApproval(const Approval& approval);
};

Result<void> PolicyStore::State::WriteVersion(const PolicyVersion& policy) {
  auto write = Prepare(db.get(),
                       "INSERT INTO policy_versions (id, version, json, created_at, operator, "
                       "state) VALUES (?1, ?2, ?3, ?4, ?5, 1)");
  if (!write) return std::unexpected(write.error());
  write->Bind(1, policy.id);
  write->Bind(2, std::int64_t{policy.version});
  write->Bind(3, policy.json);
  write->Bind(4, policy.created_at.ns);
  write->Bind(5, policy.created_by);
  if (write->Step() != SQLITE_DONE) return Unusable();
  return {};
}

Result<void> PolicyStore::State::WriteApproval(const Approval& approval) {
  auto write = Prepare(db.get(), fmt::format("INSERT OR REPLACE INTO approvals ({}) VALUES "
                                             "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "
                                             "?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, "
                                             "?23, ?24)",
                                             kApprovalColumns));
  if (!write) return std::unexpected(write.error());
  const std::string id = ToString(approval.id);
  write->Bind(1, id);
  write->Bind(2, approval.policy);
  write->Bind(3, approval.counter);
  write->Bind(4, static_cast<std::int64_t>(approval.unit));
  write->Bind(5, approval.requester);
  write->Bind(6, approval.reason);
  write->Bind(7, approval.asked_amount);
  write->Bind(8, approval.asked_duration.ns);
  BindOptional(*write, 9, approval.asked_from);
  write->Bind(10, approval.asked_at.ns);
  write->Bind(11, approval.decide_by.ns);
  write->Bind(12, static_cast<std::int64_t>(approval.state));
  BindTextIf(*write, 13, approval.decided_at.has_value(), approval.decided_by);
  BindOptional(*write, 14, approval.decided_at);
  write->Bind(15, approval.decision);
  if (approval.granted) {
    write->Bind(16, approval.granted->amount);
    write->Bind(17, approval.granted->starts_at.ns);
    write->Bind(18, approval.granted->ends_at.ns);
  } else {
    for (const int at : {16, 17, 18}) write->BindNull(at);
  }
  write->Bind(19, approval.rollback_owner);
  BindOptional(*write, 20, approval.ended_at);
  BindTextIf(*write, 21, approval.ended_at.has_value(), approval.ended_by);
  BindTextIf(*write, 22, approval.reviewed_at.has_value(), approval.review);
  BindTextIf(*write, 23, approval.reviewed_at.has_value(), approval.reviewed_by);
  BindOptional(*write, 24, approval.reviewed_at);
  if (write->Step() != SQLITE_DONE) return Unusable();
  return {};
}

PolicyStore::PolicyStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
PolicyStore::~PolicyStore() = default;

Result<std::unique_ptr<PolicyStore>> PolicyStore::Open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  auto db = OpenSqlite(path);
  if (!db) return std::unexpected(db.error());
  state->db = *std::move(db);
  // As keys.db: changes are rare, and none may be gone after a power cut. Somebody may verify the
  // trail while we write.
  sqlite3_busy_timeout(state->db.get(), 5'000);
  if (auto set = Execute(state->db.get(), "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL");
      !set) {
    return std::unexpected(set.error());
  }
  if (auto version = Migrate(state->db.get(), "policies"); !version) {
    version.error().detail = path + ": " + version.error().detail;
    return std::unexpected(version.error());
  }
  const auto check = CheckAudit(state->db.get(), std::nullopt);
  if (!check) return std::unexpected(check.error());
  if (check->first_bad != 0) {
    return Fail(ErrorCode::kBadInput, ErrorSource::kEnvironment,
                fmt::format("{}: somebody changed its audit trail: {}. Restore the file from a "
                            "backup, or move it away to begin without its policies",
                            path, check->why));
  }
  state->head = check->head;
  return std::unique_ptr<PolicyStore>(new PolicyStore(std::move(state)));
}

Result<std::vector<PolicyVersion>> PolicyStore::Active() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->ReadVersions("WHERE state = 1 ORDER BY id");
}

Result<std::optional<PolicyVersion>> PolicyStore::Find(std::string_view id) const {
  if (id.empty()) return std::nullopt;
  const std::scoped_lock lock(state_->mutex);
  auto found = state_->ReadVersions("WHERE id = ?1 AND state = 1", id);
  if (!found) return std::unexpected(found.error());
  if (found->empty()) return std::nullopt;
  return std::move(found->front());
}

Result<std::vector<PolicyVersion>> PolicyStore::Versions(std::string_view id) const {
  if (id.empty()) return std::vector<PolicyVersion>();
  const std::scoped_lock lock(state_->mutex);
  return state_->ReadVersions("WHERE id = ?1 ORDER BY version DESC LIMIT 1000", id);
}

Result<std::uint32_t> PolicyStore::NextVersion(std::string_view id) const {
  const std::scoped_lock lock(state_->mutex);
  return state_->Next(id);
}

Result<void> PolicyStore::Put(const PolicyVersion& policy, const AuditEvent& event) {
  if (policy.json.size() > kPolicyJsonMax) {
    return Fail(ErrorCode::kTooLarge, ErrorSource::kCaller,
                fmt::format("a policy has at most {} bytes", kPolicyJsonMax));
  }
  const std::scoped_lock lock(state_->mutex);
  return state_->Together(event, [&]() -> Result<void> {
    const auto next = state_->Next(policy.id);
    if (!next) return std::unexpected(next.error());
    if (*next != policy.version) {
      return Fail(ErrorCode::kConflict, ErrorSource::kCaller,
                  fmt::format("the policy {} was changed meanwhile; look at it again", policy.id));
    }
    if (auto retired = state_->RetireNow(policy.id, policy.created_at); !retired) return retired;
    const auto present = state_->Number("SELECT count(*) FROM policy_versions WHERE state = 1");
    if (!present) return std::unexpected(present.error());
    if (*present >= static_cast<std::int64_t>(config::kPoliciesMax)) {
      return Fail(ErrorCode::kConflict, ErrorSource::kCaller,
                  fmt::format("there are {} policies; delete one first", config::kPoliciesMax));
    }
    return state_->WriteVersion(policy);
  });
}

Result<void> PolicyStore::Retire(std::string_view id, const AuditEvent& event) {
  const std::scoped_lock lock(state_->mutex);
  return state_->Together(event, [&]() -> Result<void> {
    if (auto retired = state_->RetireNow(id, event.at); !retired) return retired;
    if (sqlite3_changes64(state_->db.get()) == 1) return {};
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller,
                fmt::format("there is no policy {}", id));
  });
}

Result<void> PolicyStore::Insert(const Approval& approval, const AuditEvent& event) {
  const std::scoped_lock lock(state_->mutex);
  return state_->Together(event, [&]() -> Result<void> {
    const auto own = state_->Number(
        "SELECT count(*) FROM approvals WHERE state = 1 AND requester = ?1", approval.requester);
    if (!own) return std::unexpected(own.error());
    const auto all = state_->Number("SELECT count(*) FROM approvals WHERE state = 1");
    if (!all) return std::unexpected(all.error());
    if (*own >= kOpenApprovalsMax || *all >= kOpenApprovalsOfAllMax) {
      return Fail(ErrorCode::kConflict, ErrorSource::kCaller,
                  fmt::format("{} requests wait for a decision; wait for one of them",
                              std::max(*own, kOpenApprovalsMax)));
    }
    return state_->WriteApproval(approval);
  });
}

Result<void> PolicyStore::Update(const Approval& approval, ApprovalState from,
                                 const AuditEvent& event) {
  const std::scoped_lock lock(state_->mutex);
  return state_->Together(event, [&]() -> Result<void> {
    auto read = Prepare(state_->db.get(), "SELECT state FROM approvals WHERE id = ?1");
    if (!read) return std::unexpected(read.error());
    const std::string id = ToString(approval.id);
    read->Bind(1, id);
    const int step = read->Step();
    if (step == SQLITE_DONE) {
      return Fail(ErrorCode::kNotFound, ErrorSource::kCaller, "there is no such approval");
    }
    if (step != SQLITE_ROW) return state_->Unusable();
    if (read->Int(0) != static_cast<std::int64_t>(from)) {
      return Fail(ErrorCode::kConflict, ErrorSource::kCaller,
                  "the approval was changed meanwhile; look at it again");
    }
    read->Reset();
    return state_->WriteApproval(approval);
  });
}

Result<std::optional<Approval>> PolicyStore::Find(const ApprovalId& id) const {
  const std::scoped_lock lock(state_->mutex);
  const std::string text = ToString(id);
  auto found = state_->ReadApprovals("WHERE id = ?1", [&](Statement& read) { read.Bind(1, text); });
  if (!found) return std::unexpected(found.error());
  if (found->empty()) return std::nullopt;
  return std::move(found->front());
}

Result<std::vector<Approval>> PolicyStore::List(const ApprovalQuery& query) const {
  const std::scoped_lock lock(state_->mutex);
  // Ids begin with their time and sort like it.
  const std::string before = query.before ? ToString(*query.before) : std::string("~");
  return state_->ReadApprovals(
      fmt::format("WHERE id < ?1 {} {} ORDER BY id DESC LIMIT ?2",
                  query.state ? "AND state = ?3" : "",
                  query.review_missing ? "AND state = 6 AND review IS NULL" : ""),
      [&](Statement& read) {
        read.Bind(1, before);
        read.Bind(2, std::clamp<std::int64_t>(query.limit, 1, kListMax));
        if (query.state) read.Bind(3, static_cast<std::int64_t>(*query.state));
      });
}

Result<std::vector<Approval>> PolicyStore::Granted() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->ReadApprovals("WHERE state IN (2, 3) ORDER BY id", [](Statement&) {});
}

Result<std::vector<Approval>> PolicyStore::Due(Instant now) const {
  const std::scoped_lock lock(state_->mutex);
  return state_->ReadApprovals(
      "WHERE (state = 1 AND decide_by <= ?1) OR (state = 2 AND starts_at <= ?1) "
      "OR (state IN (2, 3) AND ends_at <= ?1) ORDER BY id",
      [&](Statement& read) { read.Bind(1, now.ns); });
}

Result<void> PolicyStore::Note(const AuditEvent& event) {
  const std::scoped_lock lock(state_->mutex);
  return state_->Together(event, []() -> Result<void> { return {}; });
}

Result<std::vector<AuditRow>> PolicyStore::Audit(std::int64_t before, std::int64_t limit) const {
  const std::scoped_lock lock(state_->mutex);
  return ListAudit(state_->db.get(), before, limit);
}

AuditHead PolicyStore::head() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->head;
}

}  // namespace weir::store
