#include "store/reply_store.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace weir::store {
namespace {

class ReplyStoreTest : public testing::Test {
 protected:
  ReplyStoreTest() {
    std::string pattern = std::filesystem::temp_directory_path() / "weir-replies-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~ReplyStoreTest() override { std::filesystem::remove_all(folder_); }
  std::unique_ptr<ReplyStore> Open() {
    auto store = ReplyStore::Open(folder_ + "/replies.db");
    EXPECT_TRUE(store) << store.error().detail;
    return *std::move(store);
  }
  static RequestId At(std::int64_t second, std::uint64_t n = 1) {
    return {MakeId(Instant{second * 1'000'000'000}, n, n)};
  }

  std::string folder_;
};

gateway::KeptReply Reply(std::string body) {
  return {
      .status = 200, .stream = true, .content_type = "text/event-stream", .body = std::move(body)};
}

TEST_F(ReplyStoreTest, KeptReply_ComesBackWhole_AlsoAfterAReopening) {
  const std::string body("data: \0\xff\n\n", 10);
  {
    const auto store = Open();
    store->Begin();
    store->Keep(At(5), Reply(body));
    store->Keep(At(6), {.status = 404, .stream = false, .content_type = "", .body = ""});
    ASSERT_TRUE(store->Commit());
  }
  const auto store = Open();
  const auto found = store->Find(At(5));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->body, body);
  EXPECT_EQ(found->content_type, "text/event-stream");
  EXPECT_TRUE(found->stream);
  const auto empty = store->Find(At(6));
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->status, 404);
  EXPECT_EQ(empty->body, "");
  EXPECT_FALSE(store->Find(At(7)));
}

TEST_F(ReplyStoreTest, OldOnes_AreDeletedAFewAtATime) {
  const auto store = Open();
  store->Begin();
  for (std::uint64_t n = 1; n <= 250; ++n) store->Keep(At(100, n), Reply("old"));
  store->Keep(At(200), Reply("new"));
  ASSERT_TRUE(store->Commit());
  const auto left = [&] {
    int count = 0;
    for (std::uint64_t n = 1; n <= 250; ++n) count += store->Find(At(100, n)) ? 1 : 0;
    return count;
  };
  store->DeleteBefore({150'000'000'000});
  EXPECT_EQ(left(), 50);
  store->DeleteBefore({150'000'000'000});
  EXPECT_EQ(left(), 0);
  EXPECT_TRUE(store->Find(At(200)));
}

TEST_F(ReplyStoreTest, FolderThatIsNotThere_IsAnError) {
  EXPECT_FALSE(ReplyStore::Open(folder_ + "/none/replies.db"));
}

}  // namespace
}  // namespace weir::store
