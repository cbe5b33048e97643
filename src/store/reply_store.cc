#include "store/reply_store.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#include "store/migrate.h"
#include "store/sqlite.h"

namespace weir::store {
namespace {

constexpr const char* kPragmas =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=2000;";
// Deleted with one call, so that an old file does not hold up whoever waits for a reply.
constexpr std::string_view kDelete =
    "DELETE FROM reply WHERE request IN (SELECT request FROM reply WHERE request < ?1 LIMIT 200)";

using Key = std::array<std::uint8_t, 16>;

// Big endian, so that the order of the bytes is that of the ids, which is that of time.
Key KeyOf(const Id128& id) {
  Key key;
  for (std::size_t i = 0; i < 8; ++i) {
    key[i] = static_cast<std::uint8_t>(id.high >> (56 - 8 * i));
    key[8 + i] = static_cast<std::uint8_t>(id.low >> (56 - 8 * i));
  }
  return key;
}

class Implementation final : public ReplyStore {
 public:
  Implementation(SqliteHandle db, Statement insert, Statement find, Statement remove)
      : db_(std::move(db)),
        insert_(std::move(insert)),
        find_(std::move(find)),
        remove_(std::move(remove)) {}

  void Begin() override {
    failed_.reset();
    if (auto begun = Execute(db_.get(), "BEGIN"); !begun) failed_ = begun.error();
  }

  void Keep(const RequestId& request, const gateway::KeptReply& reply) override {
    if (failed_) return;
    const Key key = KeyOf(request);
    insert_.Bind(1, std::span<const std::uint8_t>(key));
    insert_.Bind(2, static_cast<std::int64_t>(reply.status));
    insert_.Bind(3, static_cast<std::int64_t>(reply.stream ? 1 : 0));
    insert_.Bind(4, std::string_view(reply.content_type));
    insert_.Bind(
        5, std::span(reinterpret_cast<const std::uint8_t*>(reply.body.data()), reply.body.size()));
    if (insert_.Step() != SQLITE_DONE) {
      failed_ = Error{ErrorCode::kUnavailable, ErrorSource::kEnvironment, Retry::kNever,
                      SqliteProblem(db_.get())};
    }
    insert_.Reset();
  }

  Result<void> Commit() override {
    if (!failed_) {
      if (auto done = Execute(db_.get(), "COMMIT"); !done) failed_ = done.error();
    }
    if (!failed_) return {};
    (void)Execute(db_.get(), "ROLLBACK");  // of nothing, when BEGIN failed
    return std::unexpected(*failed_);
  }

  std::optional<gateway::KeptReply> Find(const RequestId& request) override {
    const Key key = KeyOf(request);
    find_.Bind(1, std::span<const std::uint8_t>(key));
    std::optional<gateway::KeptReply> reply;
    if (find_.Step() == SQLITE_ROW) {
      reply.emplace();
      reply->status = static_cast<int>(find_.Int(0));
      reply->stream = find_.Int(1) != 0;
      reply->content_type = find_.Text(2);
      const auto body = find_.Blob(3);
      reply->body.assign(reinterpret_cast<const char*>(body.data()), body.size());
    }
    find_.Reset();
    return reply;
  }

  void DeleteBefore(Instant instant) override {
    const Key key = KeyOf(MakeId(instant, 0, 0));
    remove_.Bind(1, std::span<const std::uint8_t>(key));
    remove_.Step();
    remove_.Reset();
  }

 private:
  SqliteHandle db_;
  Statement insert_;
  Statement find_;
  Statement remove_;
  std::optional<Error> failed_;
};

}  // namespace

Result<std::unique_ptr<ReplyStore>> ReplyStore::Open(const std::string& path) {
  auto db = OpenSqlite(path);
  if (!db) return std::unexpected(db.error());
  if (auto set = Execute(db->get(), kPragmas); !set) return std::unexpected(set.error());
  if (auto version = Migrate(db->get(), "replies"); !version) {
    return std::unexpected(version.error());
  }
  auto insert = Prepare(db->get(), "INSERT OR REPLACE INTO reply VALUES (?1, ?2, ?3, ?4, ?5)");
  if (!insert) return std::unexpected(insert.error());
  auto find =
      Prepare(db->get(), "SELECT status, stream, content_type, body FROM reply WHERE request = ?1");
  if (!find) return std::unexpected(find.error());
  auto remove = Prepare(db->get(), kDelete);
  if (!remove) return std::unexpected(remove.error());
  return std::make_unique<Implementation>(*std::move(db), *std::move(insert), *std::move(find),
                                          *std::move(remove));
}

}  // namespace weir::store
