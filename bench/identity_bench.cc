// What authentication costs a request: the digest of the key and the lookup, alone and together.
//
//   ninja identity_bench && bench/identity_bench          (release preset)
//
// The lookup walks four pointers; with many keys each is a cache miss, so the keys are drawn in a
// scattered order and the table is given as an argument.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "identity/authenticate.h"

namespace weir::identity {
namespace {

const Pepper kPepper("a pepper of thirty-two characters");
constexpr Instant kNow{1'800'000'000'000'000'000};

std::array<std::uint8_t, 32> RandomBytes(std::uint64_t seed) {
  SeededRandom random(seed);
  std::array<std::uint8_t, 32> bytes{};
  for (auto& b : bytes) b = static_cast<std::uint8_t>(random.Next());
  return bytes;
}

std::string KeyText(std::uint64_t n) {
  return std::string(GenerateKey("qf_", RandomBytes(n)).Reveal());
}

KeyRecord Record(std::uint64_t n) {
  KeyRecord record;
  record.id = KeyId{Id128{n, n}};
  record.name = "key-" + std::to_string(n);
  record.digest = kPepper.Digest(KeyText(n));
  record.environment = "production";
  record.permissions = {"openai"};
  return record;
}

KeyTable Table(std::int64_t count) {
  std::vector<KeyRecord> records;
  records.reserve(static_cast<std::size_t>(count));
  for (std::int64_t n = 0; n < count; ++n) records.push_back(Record(static_cast<std::uint64_t>(n)));
  return KeyTable::Of(std::move(records));
}

// 4096 keys of the table, scattered over it.
std::vector<std::string> Presented(std::int64_t count) {
  SeededRandom random(1);
  std::vector<std::string> keys;
  for (int i = 0; i < 4096; ++i) {
    keys.push_back(KeyText(random.Next() % static_cast<std::uint64_t>(count)));
  }
  return keys;
}

void BM_Digest(benchmark::State& state) {
  const std::string key = KeyText(1);
  for (auto _ : state) benchmark::DoNotOptimize(kPepper.Digest(key));
}
BENCHMARK(BM_Digest);

void BM_Lookup(benchmark::State& state) {
  const KeyTable table = Table(state.range(0));
  std::vector<KeyDigest> digests;
  for (const std::string& key : Presented(state.range(0))) digests.push_back(kPepper.Digest(key));
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(table.FindByDigest(digests[i++ & 4095]));
}
BENCHMARK(BM_Lookup)->Arg(4)->Arg(10'000)->Arg(1'000'000);

// From the headers to the principal: what the path pays.
void BM_Authenticate(benchmark::State& state) {
  const KeyTable table = Table(state.range(0));
  std::vector<std::string> headers;
  for (const std::string& key : Presented(state.range(0))) headers.push_back("Bearer " + key);
  std::string scratch;
  std::size_t i = 0;
  for (auto _ : state) {
    PresentedHeaders presented;
    presented.authorization = headers[i++ & 4095];
    auto principal =
        Authenticate(table, kPepper, ExtractKey(presented, scratch), "production", kNow);
    benchmark::DoNotOptimize(principal);
  }
}
BENCHMARK(BM_Authenticate)->Arg(4)->Arg(10'000)->Arg(1'000'000);

void BM_AuthenticateUnknownKey(benchmark::State& state) {
  const KeyTable table = Table(10'000);
  const std::string key = KeyText(1'000'000'000);
  for (auto _ : state) {
    auto principal = Authenticate(table, kPepper, key, "production", kNow);
    benchmark::DoNotOptimize(principal);
  }
}
BENCHMARK(BM_AuthenticateUnknownKey);

// One key changed among many: what an operator's change costs the admin thread.
void BM_ChangeOneKey(benchmark::State& state) {
  KeyTable table = Table(state.range(0));
  std::uint64_t n = 0;
  for (auto _ : state) {
    table = table.With(Record(n++ % static_cast<std::uint64_t>(state.range(0))));
  }
}
BENCHMARK(BM_ChangeOneKey)->Arg(10'000)->Arg(1'000'000);

}  // namespace
}  // namespace weir::identity

BENCHMARK_MAIN();
