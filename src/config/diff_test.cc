#include "config/diff.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "config/defaults.h"

namespace weir::config {
namespace {

std::string Described(const Config& before, const Config& after) {
  return DescribeChanges(DiffConfigs(before, after));
}

TEST(DiffConfigs, EqualConfigs_HaveNoChanges) {
  EXPECT_EQ(Described(EmbeddedDefault(), EmbeddedDefault()), "no changes");
}

TEST(DiffConfigs, SaysWhatChangedFromWhatToWhat) {
  const Config before = EmbeddedDefault();
  Config after = before;
  after.caller_limits.idle_deadline = Seconds(60);
  after.listen.port = 9090;
  after.models[0].price->input = {6'000'000};
  after.models[1].price.reset();
  after.models.erase(after.models.begin() + 4);
  Model added;
  added.id = "new";
  added.routes.push_back({0, "new"});
  after.models.push_back(added);
  EXPECT_EQ(Described(before, after),
            "6 changes: listen 127.0.0.1:8080 -> 127.0.0.1:9090 (needs a restart); "
            "limits.idle_deadline 75s -> 1m; models.gpt-5.5.price.input 5.00 -> 6.00; "
            "models.gpt-5.4.price removed; models.new added; "
            "models.gpt-4o-mini-transcribe removed");
}

TEST(DiffConfigs, SecretsAreNamedButNeverShown) {
  const Config before = OpenAiDefault(Secret("sk-before"));
  Config after = OpenAiDefault(Secret("sk-after"));
  EXPECT_EQ(Described(before, after), "1 change: upstreams.openai.api_key changed");
  after.upstreams[0].api_key = Secret();
  EXPECT_EQ(Described(before, after), "1 change: upstreams.openai.api_key changed");
}

TEST(DiffConfigs, OrderMattersForRoutesAndNothingElse) {
  Config before = EmbeddedDefault();
  Upstream second;
  second.name = "second";
  second.host = "b.example";
  before.upstreams.push_back(second);
  before.models[0].routes = {{0, "gpt-5.5"}, {1, "other"}};
  Config after = before;
  // The same upstreams in the other order, and routes that name the same ones.
  std::swap(after.upstreams[0], after.upstreams[1]);
  for (Model& model : after.models) {
    for (ModelRoute& route : model.routes) route.upstream = 1 - route.upstream;
  }
  EXPECT_EQ(Described(before, after), "no changes");
  std::swap(after.models[0].routes[0], after.models[0].routes[1]);
  EXPECT_EQ(Described(before, after),
            "1 change: models.gpt-5.5.routes [sandbox, {upstream: second, model: other}] -> "
            "[{upstream: second, model: other}, sandbox]");
}

TEST(DescribeChanges, ALongList_IsCut) {
  const Config before = EmbeddedDefault();
  Config after = before;
  for (int i = 0; i < 30; ++i) {
    KeySpec key;
    key.name = "k" + std::to_string(i);
    after.keys.push_back(key);
  }
  EXPECT_TRUE(Described(before, after).ends_with("keys.k19 added; and 10 more"));
}

TEST(WithoutRestartChanges, KeepsWhatOnlyARestartCanChange) {
  const Config before = EmbeddedDefault();
  Config after = before;
  after.listen.port = 9090;
  after.admin.port = 9091;
  after.workers = 3;
  after.data_dir = "elsewhere";
  after.durability = Durability::kPower;
  after.caller_limits.idle_deadline = Seconds(60);
  const Config published = WithoutRestartChanges(before, after);
  EXPECT_EQ(Described(before, published), "1 change: limits.idle_deadline 75s -> 1m");
  const auto changes = DiffConfigs(before, after);
  EXPECT_EQ(std::ranges::count(changes, true, &ConfigChange::needs_restart), 5);
}

TEST(CarryPriceVersions, ChangedPrices_CountUp) {
  Config before = EmbeddedDefault();
  before.models[0].price->version = 7;
  before.models[1].price->version = 7;
  before.models[2].price->version = 7;
  Config after = EmbeddedDefault();
  after.models[1].price->output = {1};
  after.models[2].price->version = 12;
  CarryPriceVersions(before, after);
  EXPECT_EQ(after.models[0].price->version, 7U);   // the same price
  EXPECT_EQ(after.models[1].price->version, 8U);   // another price
  EXPECT_EQ(after.models[2].price->version, 12U);  // the file says so
  EXPECT_EQ(after.models[3].price->version, 1U);
}

}  // namespace
}  // namespace weir::config
