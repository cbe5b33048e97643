// The outbox: what is accepted is kept once and goes through its states, over restarts, with
// bounds.
#include "store/webhook_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

namespace weir::store {
namespace {

using Verdict = Attempt::Verdict;

constexpr Instant kNow{1'800'000'000'000'000'000};
constexpr Duration kDay = Seconds(86'400);

telemetry::Event Event(std::uint64_t n) {
  return {.id = telemetry::EventIdText({1, n}),
          .type = "wallet.low",
          .time = kNow,
          .data = "{\"n\":" + std::to_string(n) + "}"};
}

WebhookStore::Known Known(std::string name, std::uint8_t url = 1) {
  WebhookStore::Known known{.name = std::move(name)};
  known.url_digest.fill(url);
  return known;
}

struct WebhookStoreTest : testing::Test {
  std::string folder = testing::TempDir() + "webhooks_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  WebhookStore::Options options;
  std::unique_ptr<WebhookStore> store;

  WebhookStoreTest() {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  ~WebhookStoreTest() override {
    store.reset();
    std::filesystem::remove_all(folder);
  }
  void Start() {
    store.reset();
    auto opened = WebhookStore::Open(folder + "/webhooks.db", options);
    ASSERT_TRUE(opened) << opened.error().detail;
    store = *std::move(opened);
    const std::vector<WebhookStore::Known> known = {Known("a"), Known("b")};
    ASSERT_TRUE(store->Configure(known, kNow));
  }
  WebhookStore::Added Add(std::vector<WebhookStore::Addition> additions, Instant now = kNow,
                          std::optional<std::int64_t> position = std::nullopt) {
    const auto added = store->Add(additions, position, now);
    EXPECT_TRUE(added);
    return added ? *added : WebhookStore::Added{};
  }
  Delivery Of(std::int64_t id) {
    const auto found = store->Find({id});
    EXPECT_TRUE(found && *found) << id;
    return found && *found ? **found : Delivery{};
  }
  WebhookStore::Change Tell(std::int64_t id, Verdict verdict, std::int64_t status,
                            Instant at = kNow, Instant next = {}) {
    const auto change = store->Record({.delivery = {id},
                                       .endpoint = Of(id).endpoint,
                                       .at = at,
                                       .status = status,
                                       .error = verdict == Verdict::kDelivered ? "" : "it failed",
                                       .verdict = verdict,
                                       .next_at = next});
    EXPECT_TRUE(change);
    return change ? *change : WebhookStore::Change{};
  }
  EndpointState StateOf(std::string_view endpoint) {
    const auto record = store->Endpoint(endpoint);
    EXPECT_TRUE(record && *record);
    return (*record)->state;
  }
  std::size_t PendingOf(std::string_view endpoint) { return store->Pending(endpoint, 100)->size(); }
};

TEST_F(WebhookStoreTest, AnEvent_IsOneDeliveryForEachEndpoint_AndOutlivesARestart) {
  Start();
  const auto added = Add({{Event(1), {"a", "b"}}, {Event(2), {"b"}}});
  EXPECT_EQ(added.deliveries, 3);
  EXPECT_EQ(added.last.n, 3);
  Start();
  const auto due = store->Pending("b", 10);
  ASSERT_TRUE(due);
  ASSERT_EQ(due->size(), 2U);
  EXPECT_EQ((*due)[0].event, Event(1));
  EXPECT_EQ((*due)[1].event, Event(2));
  EXPECT_EQ((*due)[0].next_at, kNow);
  EXPECT_EQ(store->Pending("b", 1)->size(), 1U);
  EXPECT_EQ(PendingOf("a"), 1U);
  EXPECT_EQ(PendingOf("c"), 0U);
  EXPECT_EQ(*store->PendingCount(), 3);
}

TEST_F(WebhookStoreTest, TheSameEventAgain_IsKeptOnce_AlsoAfterItWasDelivered) {
  Start();
  EXPECT_EQ(Add({{Event(1), {"a"}}, {Event(1), {"a"}}}).deliveries, 1);
  EXPECT_EQ(Add({{Event(1), {"a", "b"}}}).deliveries, 0);
  Tell(1, Verdict::kDelivered, 204);
  Start();
  EXPECT_EQ(Add({{Event(1), {"a"}}}).deliveries, 0);
  EXPECT_EQ(*store->PendingCount(), 0);
}

TEST_F(WebhookStoreTest, AnEventForNobody_IsAsIfItHadNotBeenOffered) {
  Start();
  EXPECT_EQ(Add({{Event(1), {}}}).deliveries, 0);
  EXPECT_EQ(Add({{Event(1), {"a"}}}).deliveries, 1);
}

TEST_F(WebhookStoreTest, ThePosition_MovesWithItsEvents) {
  Start();
  EXPECT_EQ(*store->Position(), std::nullopt);
  Add({{Event(1), {"a"}}}, kNow, 17);
  EXPECT_EQ(*store->Position(), 17);
  Add({{Event(2), {"a"}}});
  EXPECT_EQ(*store->Position(), 17);
  Add({}, kNow, 20);
  Start();
  EXPECT_EQ(*store->Position(), 20);
  ASSERT_TRUE(store->ForgetPosition());
  EXPECT_EQ(*store->Position(), std::nullopt);
  // What cannot be written moves nothing: a negative position is against the table.
  EXPECT_FALSE(store->Add(std::vector<WebhookStore::Addition>{{Event(3), {"a"}}}, -1, kNow));
  EXPECT_EQ(*store->Position(), std::nullopt);
  EXPECT_EQ(PendingOf("a"), 2U);
}

TEST_F(WebhookStoreTest, Attempts_MoveADeliveryThroughItsStates) {
  Start();
  Add({{Event(1), {"a"}}, {Event(2), {"a"}}});
  auto change = Tell(1, Verdict::kRetry, 500, kNow + Seconds(1), kNow + Seconds(6));
  EXPECT_EQ(change.before, EndpointState::kOk);
  EXPECT_EQ(change.now, EndpointState::kErring);
  Delivery one = Of(1);
  EXPECT_EQ(one.state, DeliveryState::kPending);
  EXPECT_EQ(one.attempts, 1);
  EXPECT_EQ(one.next_at, kNow + Seconds(6));
  EXPECT_EQ(one.last_at, kNow + Seconds(1));
  EXPECT_EQ(one.last_status, 500);
  EXPECT_EQ(one.last_error, "it failed");
  // The one that waits is behind the one that is due.
  EXPECT_EQ(store->Pending("a", 10)->front().id.n, 2);

  change = Tell(1, Verdict::kFailed, 0, kNow + Seconds(6));
  EXPECT_EQ(change.now, EndpointState::kFailing);
  EXPECT_EQ(Of(1).state, DeliveryState::kFailed);
  EXPECT_EQ(Of(1).attempts, 2);

  change = Tell(2, Verdict::kDelivered, 200, kNow + Seconds(7));
  EXPECT_EQ(change.before, EndpointState::kFailing);
  EXPECT_EQ(change.now, EndpointState::kOk);
  const auto record = **store->Endpoint("a");
  EXPECT_EQ(record.last_success_at, kNow + Seconds(7));
  EXPECT_EQ(record.erring_since, std::nullopt);
  EXPECT_EQ(record.last_status, 200);
  EXPECT_EQ(record.pending, 0);
  EXPECT_EQ(StateOf("b"), EndpointState::kOk);
}

TEST_F(WebhookStoreTest, ErringAndFailing_CountFromTheFirst) {
  Start();
  Add({{Event(1), {"a"}}});
  Tell(1, Verdict::kRetry, 500, kNow + Seconds(1), kNow);
  Tell(1, Verdict::kRetry, 502, kNow + Seconds(2), kNow);
  const auto record = **store->Endpoint("a");
  EXPECT_EQ(record.erring_since, kNow + Seconds(1));
  EXPECT_EQ(record.last_at, kNow + Seconds(2));
  EXPECT_EQ(record.last_status, 502);
}

TEST_F(WebhookStoreTest, Disabling_HoldsBackAllOfTheEndpoint_AndWhatComesAfter) {
  Start();
  Add({{Event(1), {"a", "b"}}, {Event(2), {"a"}}});
  EXPECT_EQ(Tell(1, Verdict::kDisable, 410).now, EndpointState::kDisabled);
  EXPECT_EQ(Of(1).state, DeliveryState::kDisabled);
  EXPECT_EQ(Of(3).state, DeliveryState::kDisabled);
  EXPECT_EQ(Of(3).attempts, 0);
  EXPECT_EQ(Of(2).state, DeliveryState::kPending);  // b's
  Add({{Event(3), {"a"}}});
  EXPECT_EQ(Of(4).state, DeliveryState::kDisabled);
  EXPECT_EQ(PendingOf("a"), 0U);
  // One that was under way when another was told 410: its failure changes nothing, its success is
  // one.
  Tell(3, Verdict::kRetry, 500, kNow, kNow + Seconds(5));
  EXPECT_EQ(Of(3).state, DeliveryState::kDisabled);
  Tell(3, Verdict::kDelivered, 200);
  EXPECT_EQ(Of(3).state, DeliveryState::kDelivered);
  EXPECT_EQ(StateOf("a"), EndpointState::kDisabled);
  Start();
  EXPECT_EQ(StateOf("a"), EndpointState::kDisabled);
}

TEST_F(WebhookStoreTest, Enable_BringsBackWhatIsRecent) {
  Start();
  Add({{Event(1), {"a"}}}, kNow);
  Add({{Event(2), {"a"}}}, kNow + Seconds(60));
  Tell(1, Verdict::kDisable, 410);
  const Instant later = kNow + options.enable_reach + Seconds(1);
  EXPECT_EQ(*store->Enable("a", later), 1);
  EXPECT_EQ(StateOf("a"), EndpointState::kOk);
  EXPECT_EQ(Of(1).state, DeliveryState::kDisabled);
  EXPECT_EQ(Of(2).state, DeliveryState::kPending);
  EXPECT_EQ(Of(2).next_at, later);
  EXPECT_EQ(*store->Enable("a", later), 0);
  EXPECT_EQ(*store->Enable("nobody", later), 0);
}

TEST_F(WebhookStoreTest, AnotherUrl_IsANewEndpoint_TheSameOneIsNot) {
  Start();
  Add({{Event(1), {"a"}}});
  Tell(1, Verdict::kDisable, 410);
  ASSERT_TRUE(store->Configure(std::vector{Known("a", 1)}, kNow));
  EXPECT_EQ(StateOf("a"), EndpointState::kDisabled);
  ASSERT_TRUE(store->Configure(std::vector{Known("a", 2)}, kNow + Seconds(9)));
  EXPECT_EQ(StateOf("a"), EndpointState::kOk);
  EXPECT_EQ(Of(1).state, DeliveryState::kPending);
  EXPECT_EQ(Of(1).next_at, kNow + Seconds(9));
}

TEST_F(WebhookStoreTest, Retry_SendsOneAgain) {
  Start();
  Add({{Event(1), {"a"}}, {Event(2), {"a"}}, {Event(3), {"a"}}});
  Tell(1, Verdict::kDelivered, 200);
  Tell(2, Verdict::kFailed, 500);
  Tell(3, Verdict::kRetry, 500, kNow, kNow + kDay);
  for (const std::int64_t id : {1, 2, 3}) {
    const auto again = store->Retry({id}, kNow + Seconds(5));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->state, DeliveryState::kPending);
    EXPECT_EQ(again->next_at, kNow + Seconds(5));
    EXPECT_EQ(again->attempts, id == 3 ? 1 : 0);  // the pending one goes on with its schedule
  }
  EXPECT_EQ(store->Retry({99}, kNow).error().code, ErrorCode::kNotFound);
  Tell(1, Verdict::kDisable, 410);
  EXPECT_EQ(store->Retry({2}, kNow).error().code, ErrorCode::kConflict);
}

TEST_F(WebhookStoreTest, List_IsNewestFirst_FilteredAndInPages) {
  Start();
  for (std::uint64_t n = 1; n <= 5; ++n) Add({{Event(n), {"a", "b"}}});
  Tell(1, Verdict::kDelivered, 200);
  Tell(4, Verdict::kFailed, 404);
  const auto ids = [&](const DeliveryQuery& query) {
    std::vector<std::int64_t> out;
    const auto list = store->List(query);
    EXPECT_TRUE(list);
    for (const Delivery& delivery : *list) out.push_back(delivery.id.n);
    return out;
  };
  using Ids = std::vector<std::int64_t>;
  EXPECT_EQ(ids({.limit = 3}), (Ids{10, 9, 8}));
  EXPECT_EQ(ids({.before = DeliveryId{8}, .limit = 3}), (Ids{7, 6, 5}));
  EXPECT_EQ(ids({.endpoint = "b"}), (Ids{10, 8, 6, 4, 2}));
  EXPECT_EQ(ids({.state = DeliveryState::kDelivered}), Ids{1});
  EXPECT_EQ(ids({.endpoint = "b", .state = DeliveryState::kPending, .before = DeliveryId{7}}),
            (Ids{6, 2}));
  EXPECT_EQ(ids({.endpoint = "nobody"}), Ids{});
  const Delivery four = store->List({.state = DeliveryState::kFailed})->front();
  EXPECT_EQ(four.event_id, Event(2).id);
  EXPECT_EQ(four.event_type, "wallet.low");
  EXPECT_EQ(four.last_status, 404);
}

TEST_F(WebhookStoreTest, AnEndpointWithTooManyPending_TakesNoMore_OthersDo) {
  options.pending_per_endpoint_max = 2;
  Start();
  Add({{Event(1), {"a"}}});
  const auto added = Add({{Event(2), {"a", "b"}}, {Event(3), {"a", "b"}}, {Event(4), {"a"}}});
  EXPECT_EQ(added.deliveries, 3);
  EXPECT_EQ(added.dropped, 2);
  EXPECT_EQ(PendingOf("a"), 2U);
  EXPECT_EQ(PendingOf("b"), 2U);
  Tell(1, Verdict::kDelivered, 200);
  EXPECT_EQ(Add({{Event(4), {"a"}}}).deliveries, 1);  // it was never taken, so it is not known
}

TEST_F(WebhookStoreTest, Prune_DeletesWhatIsOld_AndWhatIsTooMuch_ButNothingPendingBeforeItsTime) {
  options.rows_max = 2;
  Start();
  for (std::uint64_t n = 1; n <= 5; ++n) Add({{Event(n), {"a"}}});
  for (const std::int64_t id : {1, 2, 4, 5}) Tell(id, Verdict::kDelivered, 200);
  EXPECT_EQ(*store->Prune(kNow + kDay), 2);
  EXPECT_EQ(*store->Prune(kNow + kDay), 0);
  EXPECT_EQ(store->List({})->size(), 3U);
  EXPECT_EQ(Of(3).state, DeliveryState::kPending);
  // Its event went with the only delivery of it, so the same would be new.
  EXPECT_EQ(Add({{Event(1), {"b"}}}, kNow + kDay).deliveries, 1);
  EXPECT_EQ(*store->Prune(kNow + options.keep), 0);
  EXPECT_EQ(*store->Prune(kNow + options.keep + Duration{1}), 3);
  EXPECT_EQ(store->List({})->size(), 1U);
}

TEST_F(WebhookStoreTest, AnEventOfTwoDeliveries_StaysAsLongAsOneOfThem) {
  options.rows_max = 0;
  Start();
  Add({{Event(1), {"a", "b"}}});
  Tell(1, Verdict::kDelivered, 200);
  EXPECT_EQ(*store->Prune(kNow), 1);
  ASSERT_EQ(PendingOf("b"), 1U);
  EXPECT_EQ(store->Pending("b", 1)->front().event, Event(1));
  Tell(2, Verdict::kDelivered, 200);
  EXPECT_EQ(*store->Prune(kNow), 1);
  EXPECT_EQ(store->List({})->size(), 0U);
}

TEST_F(WebhookStoreTest, TheFile_IsItsOwnersOnly_AndAnotherProgramsIsSaid) {
  Start();
  const auto mode = std::filesystem::status(folder + "/webhooks.db").permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const auto none = WebhookStore::Open(folder + "/no/such/folder/webhooks.db", options);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kUnavailable);
  options.durability = config::Durability::kPower;
  Start();
  Add({{Event(1), {"a"}}});
}

}  // namespace
}  // namespace weir::store
