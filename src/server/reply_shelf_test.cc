#include "server/reply_shelf.h"

#include <gtest/gtest.h>

#include <future>
#include <map>
#include <string>

namespace weir::server {
namespace {

RequestId Request(std::uint64_t n) { return {{1, n}}; }

// In memory, so that the test is about threads and not about SQLite.
class MapStore final : public store::ReplyStore {
 public:
  explicit MapStore(std::map<RequestId, std::string>& kept) : kept_(kept) {}
  void Begin() override { EXPECT_FALSE(std::exchange(open_, true)); }
  void Keep(const RequestId& request, const gateway::KeptReply& reply) override {
    EXPECT_TRUE(open_);
    kept_[request] = reply.body;
  }
  Result<void> Commit() override {
    EXPECT_TRUE(std::exchange(open_, false));
    return {};
  }
  std::optional<gateway::KeptReply> Find(const RequestId& request) override {
    EXPECT_FALSE(open_) << "a question sees what is committed";
    const auto found = kept_.find(request);
    if (found == kept_.end()) return std::nullopt;
    return gateway::KeptReply{.content_type = "text/plain", .body = found->second};
  }
  void DeleteBefore(Instant) override {}

 private:
  std::map<RequestId, std::string>& kept_;
  bool open_ = false;
};

struct ReplyShelfTest : testing::Test {
  std::map<RequestId, std::string> kept;
  std::unique_ptr<ReplyShelf> Make(std::size_t bytes = 1 << 20) {
    return std::make_unique<ReplyShelf>(
        std::make_unique<MapStore>(kept),
        ReplyShelf::Options{
            .queue_bytes_max = bytes, .wall_now = [] { return Instant{}; }, .on_problem = {}});
  }
  static std::optional<std::string> Find(ReplyShelf& shelf, const RequestId& request) {
    std::promise<std::optional<gateway::KeptReply>> answer;
    EXPECT_TRUE(shelf.Ask(request, [&](auto reply) { answer.set_value(std::move(reply)); }));
    auto reply = answer.get_future().get();
    if (!reply) return std::nullopt;
    return reply->body;
  }
};

TEST_F(ReplyShelfTest, QuestionSeesWhatWasKeptBeforeIt) {
  const auto shelf = Make();
  for (std::uint64_t n = 1; n <= 100; ++n) {
    ASSERT_TRUE(shelf->Keep(Request(n), {.content_type = {}, .body = std::to_string(n)}));
    ASSERT_EQ(Find(*shelf, Request(n)), std::to_string(n));
  }
  EXPECT_EQ(Find(*shelf, Request(101)), std::nullopt);
}

TEST_F(ReplyShelfTest, Stop_WritesWhatIsQueuedAndTakesNoMore) {
  const auto shelf = Make();
  for (std::uint64_t n = 1; n <= 1'000; ++n) {
    ASSERT_TRUE(shelf->Keep(Request(n), {.content_type = {}, .body = "x"}));
  }
  shelf->Stop();
  EXPECT_EQ(kept.size(), 1'000U);
  EXPECT_FALSE(shelf->Keep(Request(1), {}));
  EXPECT_FALSE(shelf->Ask(Request(1), [](auto) { ADD_FAILURE(); }));
}

TEST_F(ReplyShelfTest, ReplyThatDoesNotFitTheQueue_IsNotKept) {
  const auto shelf = Make(10);
  EXPECT_FALSE(shelf->Keep(Request(1), {.content_type = {}, .body = std::string(11, 'x')}));
  EXPECT_TRUE(shelf->Keep(Request(2), {.content_type = {}, .body = std::string(10, 'x')}));
  EXPECT_EQ(Find(*shelf, Request(1)), std::nullopt);
}

Task<void> FindOne(ReplyPort& port, RequestId request, std::optional<gateway::KeptReply>& out) {
  out = co_await port.Find(request);
}

TEST_F(ReplyShelfTest, Port_IsAnsweredOnItsOwnThread) {
  const auto shelf = Make();
  std::promise<std::function<void()>> posted;
  ReplyPort port(*shelf, [&](std::function<void()> f) { posted.set_value(std::move(f)); });
  port.Keep(Request(1), {.content_type = {}, .body = "hello"});
  std::optional<gateway::KeptReply> reply;
  Spawn(FindOne(port, Request(1), reply));
  const std::function<void()> answer = posted.get_future().get();
  EXPECT_FALSE(reply);
  answer();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->body, "hello");
}

}  // namespace
}  // namespace weir::server
