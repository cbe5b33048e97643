#include "store/audit_chain.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <span>

#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr std::string_view kColumns =
    "seq, ts, actor, action, object, before, after, reason, outcome, prev_hash, hash";

void PutNumber(std::int64_t number, std::string& out) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    out += static_cast<char>(static_cast<std::uint64_t>(number) >> shift & 0xFF);
  }
}

void PutText(std::string_view text, std::string& out) {
  PutNumber(static_cast<std::int64_t>(text.size()), out);
  out += text;
}

AuditEvent EventOf(const Statement& row) {
  return {.at = Instant{row.Int(1)},
          .actor = std::string(row.Text(2)),
          .action = std::string(row.Text(3)),
          .object = std::string(row.Text(4)),
          .before = std::string(row.Text(5)),
          .after = std::string(row.Text(6)),
          .reason = std::string(row.Text(7)),
          .outcome = std::string(row.Text(8))};
}

std::unexpected<Error> Unusable(sqlite3* db) {
  return Fail(ErrorCode::kUnavailable, ErrorSource::kEnvironment,
              "the audit trail: " + SqliteProblem(db));
}

}  // namespace

std::string FormatAuditHead(const AuditHead& head) {
  std::string text = std::to_string(head.seq) + ":";
  for (const std::uint8_t byte : head.hash) text += fmt::format("{:02x}", byte);
  return text;
}

std::optional<AuditHead> ParseAuditHead(std::string_view text) {
  AuditHead head;
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view hex = text.substr(colon + 1);
  const char* end = text.data() + colon;
  const auto number = std::from_chars(text.data(), end, head.seq);
  if (number.ec != std::errc() || number.ptr != end || head.seq < 0) return std::nullopt;
  if (hex.size() != 2 * head.hash.size()) return std::nullopt;
  for (std::size_t i = 0; i < head.hash.size(); ++i) {
    const char* digits = hex.data() + 2 * i;
    const auto byte = std::from_chars(digits, digits + 2, head.hash[i], 16);
    if (byte.ec != std::errc() || byte.ptr != digits + 2) return std::nullopt;
  }
  return head;
}

AuditHead NextHead(const AuditHead& before, const AuditEvent& event) {
  AuditHead next{.seq = before.seq + 1, .hash = {}};
  std::string bytes(before.hash.begin(), before.hash.end());
  PutNumber(next.seq, bytes);
  PutNumber(event.at.ns, bytes);
  for (const std::string* text : {&event.actor, &event.action, &event.object, &event.before,
                                  &event.after, &event.reason, &event.outcome}) {
    PutText(*text, bytes);
  }
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), next.hash.data());
  return next;
}

Result<AuditHead> AppendAudit(sqlite3* db, const AuditHead& before, const AuditEvent& event) {
  const AuditHead next = NextHead(before, event);
  auto write = Prepare(db, fmt::format("INSERT INTO audit ({}) "
                                       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                                       kColumns));
  if (!write) return std::unexpected(write.error());
  write->Bind(1, next.seq);
  write->Bind(2, event.at.ns);
  write->Bind(3, event.actor);
  write->Bind(4, event.action);
  write->Bind(5, event.object);
  write->Bind(6, event.before);
  write->Bind(7, event.after);
  write->Bind(8, event.reason);
  write->Bind(9, event.outcome);
  write->Bind(10, std::span<const std::uint8_t>(before.hash));
  write->Bind(11, std::span<const std::uint8_t>(next.hash));
  if (write->Step() != SQLITE_DONE) return Unusable(db);
  return next;
}

Result<std::vector<AuditRow>> ListAudit(sqlite3* db, std::int64_t before, std::int64_t limit) {
  auto read = Prepare(
      db, fmt::format("SELECT {} FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2", kColumns));
  if (!read) return std::unexpected(read.error());
  read->Bind(1, before > 0 ? before : INT64_MAX);
  read->Bind(2, std::clamp<std::int64_t>(limit, 1, 1000));
  std::vector<AuditRow> rows;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    AuditRow row{.head = {.seq = read->Int(0), .hash = {}}, .event = EventOf(*read)};
    const auto hash = read->Blob(10);
    std::ranges::copy(hash.first(std::min(hash.size(), row.head.hash.size())),
                      row.head.hash.begin());
    rows.push_back(std::move(row));
  }
  if (step != SQLITE_DONE) return Unusable(db);
  return rows;
}

Result<AuditCheck> CheckAudit(sqlite3* db, const std::optional<AuditHead>& known) {
  auto read = Prepare(db, fmt::format("SELECT {} FROM audit ORDER BY seq", kColumns));
  if (!read) return std::unexpected(read.error());
  AuditCheck check;
  const auto bad = [&](std::int64_t seq, std::string why) {
    check.first_bad = seq;
    check.why = std::move(why);
    return check;
  };
  const bool knows = known && known->seq > 0;
  int step = read->Step();
  for (; step == SQLITE_ROW; step = read->Step()) {
    const std::int64_t wanted = check.head.seq + 1;
    if (read->Int(0) != wanted) {
      return bad(wanted, fmt::format("row {} is missing: {} follows {}", wanted, read->Int(0),
                                     check.head.seq));
    }
    if (!std::ranges::equal(read->Blob(9), check.head.hash)) {
      return bad(wanted, fmt::format("row {} does not follow the row before it", wanted));
    }
    const AuditHead next = NextHead(check.head, EventOf(*read));
    if (!std::ranges::equal(read->Blob(10), next.hash)) {
      return bad(wanted,
                 fmt::format("row {} was changed: its hash is not that of its content", wanted));
    }
    if (knows && known->seq == next.seq && *known != next) {
      return bad(wanted, fmt::format("row {} is not the one whose hash was kept: the trail was "
                                     "written anew",
                                     wanted));
    }
    check.head = next;
  }
  if (step != SQLITE_DONE) return Unusable(db);
  if (knows && known->seq > check.head.seq) {
    return bad(check.head.seq + 1,
               fmt::format("rows from {} on are missing: the trail ended at {} before",
                           check.head.seq + 1, known->seq));
  }
  return check;
}

Result<AuditCheck> VerifyAudit(const std::string& path, const std::optional<AuditHead>& known) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Fail(ErrorCode::kNotFound, ErrorSource::kCaller,
                "there is no " + path + "; name the data directory of weir serve");
  }
  auto db = OpenSqlite(path, /*read_only=*/true);
  if (!db) return std::unexpected(db.error());
  // A gateway that writes a row has the file for a moment.
  sqlite3_busy_timeout(db->get(), 5'000);
  return CheckAudit(db->get(), known);
}

}  // namespace weir::store
