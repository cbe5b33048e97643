// What money costs on the path: the machine alone, the machine among threads with its journal, the
// journal by itself at batch sizes, the other layout of the journal that was not chosen, a start
// from a long journal, and the request log.
//
//   build/release/bench/credit_bench --benchmark_min_time=1
//
// Files go to $TMPDIR, or /tmp: on a RAM disk the numbers say nothing about commits.
#include <benchmark/benchmark.h>
#include <openssl/evp.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"
#include "gateway/credit_control.h"
#include "server/credit_host.h"
#include "store/request_log.h"
#include "store/sqlite_journal.h"

namespace weir {
namespace {

constexpr Instant kNow{1'700'000'000'000'000'000};

std::string FreshFolder() {
  const std::string folder =
      (std::filesystem::temp_directory_path() / "weir_credit_bench").string();
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  return folder;
}

RequestId Request(std::uint64_t n) { return {MakeId(kNow, 0, n * 0x9E3779B97F4A7C15ULL)}; }
KeyId Key(std::uint64_t n) { return {MakeId(kNow, 1, n * 0xBF58476D1CE4E5B9ULL)}; }

gateway::AdmitCommand Ask(std::uint64_t n, std::uint64_t key) {
  gateway::AdmitCommand command{.request = Request(n), .key = Key(key), .limits = {}, .quote = {}};
  command.limits = {.requests_per_minute = 1'000'000'000,
                    .tokens_per_minute = 30'000'000'000,
                    .concurrent_requests = 1000,
                    .budget = NanoUsd{1'000'000 * kNanoPerUsd}};
  command.quote = {.price = {.input = {2'500'000},
                             .cached_input = {250'000},
                             .cache_write = {2'500'000},
                             .output = {10'000'000},
                             .per_request = {0},
                             .version = 1},
                   .input_tokens_bound = 2000,
                   .output_tokens_bound = 1000,
                   .output_choices = 1,
                   .output_tokens_useful = 256};
  return command;
}
gateway::SettleCommand Done(std::uint64_t n) {
  return {Request(n),
          {.input_tokens = 400, .output_tokens = 20, .source = UsageSource::kProvider},
          true};
}

// One request: admitted with every limit and a budget, settled. 64 are open at any time.
void MachineAdmitSettle(benchmark::State& state) {
  const auto keys = static_cast<std::uint64_t>(state.range(0));
  gateway::CreditControl machine({.keys_expected = keys});
  ledger::RecordBuffer records;
  Instant now = kNow;
  std::uint64_t n = 0;
  for (auto _ : state) {
    now = now + Microseconds(30);
    ++n;
    const auto reply = machine.Admit(Ask(n, n % keys), now, records);
    if (reply.refusal != Refusal::kNone) state.SkipWithError("refused");
    if (n > 64) benchmark::DoNotOptimize(machine.Settle(Done(n - 64), now, records));
    if (records.count > 256) records.Clear();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(MachineAdmitSettle)->Arg(1)->Arg(10'000)->Arg(1'000'000);

void MachineRefuse(benchmark::State& state) {
  gateway::CreditControl machine;
  ledger::RecordBuffer records;
  auto command = Ask(1, 1);
  command.limits.requests_per_minute = 1;
  machine.Admit(command, kNow, records);
  std::uint64_t n = 1;
  for (auto _ : state) {
    command.request = Request(++n);
    benchmark::DoNotOptimize(machine.Admit(command, kNow, records));
  }
}
BENCHMARK(MachineRefuse);

class NoMailbox final : public server::WorkerMailbox {
 public:
  void NotifyDurable() override {}
};

// The same through the host with the journal on disk. Real time is the workers'; CPU time is that
// of the whole process, the journal thread included.
void HostAdmitSettle(benchmark::State& state) {
  static std::unique_ptr<server::CreditHost> host;
  static std::vector<std::unique_ptr<server::CreditPort>> ports;
  static NoMailbox mailbox;
  static std::atomic<std::uint64_t> next;
  if (state.thread_index() == 0) {
    auto journal =
        store::SqliteJournal::Open(FreshFolder() + "/ledger.db", config::Durability::kProcess);
    server::CreditHost::Options options;
    std::uint64_t tick = 0;
    options.wall_now = [tick]() mutable { return kNow + Microseconds(30 * ++tick); };
    server::CreditStart start;
    host = server::CreditHost::Start(std::move(*journal), std::move(options), start).value();
    for (int i = 0; i < state.threads(); ++i) {
      ports.push_back(std::make_unique<server::CreditPort>(*host, mailbox));
    }
    next = 0;
  }
  for (auto _ : state) {
    server::CreditPort& port = *ports[static_cast<std::size_t>(state.thread_index())];
    const std::uint64_t n = ++next;
    if (port.Admit(Ask(n, n % 1000)).refusal != Refusal::kNone) state.SkipWithError("refused");
    benchmark::DoNotOptimize(port.Settle(Done(n)));
  }
  state.SetItemsProcessed(state.iterations());
  if (state.thread_index() == 0) {
    const auto counters = host->Counters();
    state.counters["records_per_commit"] =
        static_cast<double>(counters.records) /
        static_cast<double>(std::max<std::uint64_t>(counters.commits, 1));
    ports.clear();
    host.reset();
  }
}
BENCHMARK(HostAdmitSettle)->Threads(1)->Threads(2)->MeasureProcessCPUTime()->UseRealTime();

// As fast as the disk takes them: two workers admit and settle, each with at most 64 requests open
// and never more than a few thousand records ahead of the disk; the time ends when the last
// settlement is on disk. Items are settled requests, so the rate is what can be sustained.
void HostSettledToDisk(benchmark::State& state) {
  const auto durability =
      state.range(0) == 0 ? config::Durability::kProcess : config::Durability::kPower;
  constexpr std::uint64_t kRequests = 400'000;
  constexpr int kWorkers = 2;
  for (auto _ : state) {
    auto journal = store::SqliteJournal::Open(FreshFolder() + "/ledger.db", durability);
    server::CreditHost::Options options;
    std::uint64_t tick = 0;
    options.wall_now = [tick]() mutable { return kNow + Microseconds(30 * ++tick); };
    server::CreditStart start;
    auto host = server::CreditHost::Start(std::move(*journal), std::move(options), start).value();
    NoMailbox mailbox;
    std::atomic<std::uint64_t> handed{0};  // records given to the host
    const auto begun = std::chrono::steady_clock::now();
    const auto work = [&](std::uint64_t worker) {
      server::CreditPort port(*host, mailbox);
      for (std::uint64_t n = worker; n < kRequests + 64; n += kWorkers) {
        while (handed.load(std::memory_order_relaxed) > host->Counters().records + 8192) {
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
        if (n < kRequests && port.Admit(Ask(n + 1, n % 1000)).refusal != Refusal::kNone) {
          state.SkipWithError("refused");
          return;
        }
        if (n >= 64) port.Settle(Done(n + 1 - 64));
        handed.fetch_add(2, std::memory_order_relaxed);
      }
    };
    {
      std::vector<std::jthread> workers;
      for (std::uint64_t i = 0; i < kWorkers; ++i) workers.emplace_back(work, i);
    }
    // One fund for each key, an intent and a settlement for each request.
    while (host->Counters().records < 2 * kRequests) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    state.SetIterationTime(took.count());
    const auto counters = host->Counters();
    state.counters["records_per_commit"] =
        static_cast<double>(counters.records) / static_cast<double>(counters.commits);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kRequests));
}
BENCHMARK(HostSettledToDisk)
    ->ArgName("power")
    ->Arg(0)
    ->Arg(1)
    ->Iterations(1)
    ->UseManualTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

ledger::RecordBuffer SomeRecords(std::uint32_t count) {
  gateway::CreditControl machine;
  ledger::RecordBuffer records;
  for (std::uint64_t n = 1; records.count < count + 1; ++n) {
    machine.Admit(Ask(n, 1), kNow, records);
    machine.Settle(Done(n), kNow, records);
  }
  return records;
}

// Appends batches of `size` records of the usual length; items are records.
void JournalAppend(benchmark::State& state) {
  const auto size = static_cast<std::uint32_t>(state.range(0));
  const auto durability =
      state.range(1) == 0 ? config::Durability::kProcess : config::Durability::kPower;
  auto journal = store::SqliteJournal::Open(FreshFolder() + "/ledger.db", durability).value();
  ledger::RecordBuffer records = SomeRecords(size);
  std::uint64_t first = 1;
  for (auto _ : state) {
    if (journal->Append({.first_position = first, .count = size, .records = records.bytes}) !=
        store::AppendOutcome::kDurable) {
      state.SkipWithError("not durable");
    }
    first += size;
  }
  state.SetItemsProcessed(state.iterations() * size);
}
BENCHMARK(JournalAppend)
    ->ArgNames({"batch", "power"})
    ->Args({1, 0})
    ->Args({8, 0})
    ->Args({64, 0})
    ->Args({1, 1})
    ->Args({8, 1})
    ->Args({64, 1});

// What the hash chain adds to an append: SHA-256 over the chain before, the numbers and the
// records, as store/sqlite_journal computes it.
void JournalChain(benchmark::State& state) {
  const ledger::RecordBuffer records = SomeRecords(static_cast<std::uint32_t>(state.range(0)));
  EVP_MD* method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  std::array<std::uint8_t, 32> chain{};
  const std::array<std::uint8_t, 12> numbers{};
  for (auto _ : state) {
    EVP_DigestInit_ex(context, method, nullptr);
    EVP_DigestUpdate(context, chain.data(), chain.size());
    EVP_DigestUpdate(context, numbers.data(), numbers.size());
    EVP_DigestUpdate(context, records.bytes.data(), records.bytes.size());
    EVP_DigestFinal_ex(context, chain.data(), nullptr);
    benchmark::DoNotOptimize(chain);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  EVP_MD_CTX_free(context);
  EVP_MD_free(method);
}
BENCHMARK(JournalChain)->ArgName("batch")->Arg(1)->Arg(8)->Arg(64);

// The layout that was not chosen: one row for each record, one transaction for each batch, without
// a chain.
void JournalRowPerRecord(benchmark::State& state) {
  const auto size = static_cast<std::uint32_t>(state.range(0));
  sqlite3* db = nullptr;
  sqlite3_stmt* insert = nullptr;
  sqlite3_open((FreshFolder() + "/rows.db").c_str(), &db);
  sqlite3_exec(db,
               "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
               "PRAGMA wal_autocheckpoint=4096;"
               "CREATE TABLE journal (position INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT",
               nullptr, nullptr, nullptr);
  sqlite3_prepare_v2(db, "INSERT INTO journal VALUES (?1, ?2)", -1, &insert, nullptr);
  const ledger::RecordBuffer records = SomeRecords(size);
  std::int64_t position = 0;
  for (auto _ : state) {
    sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
    std::size_t at = 0;
    for (std::uint32_t i = 0; i < size; ++i) {
      const int length = records.bytes[at] | (records.bytes[at + 1] << 8);
      sqlite3_bind_int64(insert, 1, ++position);
      sqlite3_bind_blob(insert, 2, &records.bytes[at], length, SQLITE_STATIC);
      if (sqlite3_step(insert) != SQLITE_DONE) state.SkipWithError("not inserted");
      sqlite3_reset(insert);
      at += static_cast<std::size_t>(length);
    }
    sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr);
  }
  state.SetItemsProcessed(state.iterations() * size);
  sqlite3_finalize(insert);
  sqlite3_close(db);
}
BENCHMARK(JournalRowPerRecord)->ArgName("batch")->Arg(1)->Arg(8)->Arg(64);

// A start from a journal of a million records in batches of 16 (half a million requests).
void StartFromMillionRecords(benchmark::State& state) {
  const std::string path = FreshFolder() + "/ledger.db";
  {
    auto journal = store::SqliteJournal::Open(path, config::Durability::kProcess).value();
    gateway::CreditControl machine;
    ledger::RecordBuffer records;
    std::uint64_t first = 1;
    for (std::uint64_t n = 1; n <= 500'000; ++n) {
      const Instant now = kNow + Microseconds(static_cast<std::int64_t>(30 * n));
      machine.Admit(Ask(n, n % 1000), now, records);
      machine.Settle(Done(n), now, records);
      if (records.count < 16) continue;
      journal->Append({first, records.count, records.bytes});
      first += records.count;
      records.Clear();
    }
  }
  for (auto _ : state) {
    server::CreditHost::Options options;
    options.wall_now = [] { return kNow; };
    server::CreditStart start;
    auto host = server::CreditHost::Start(
        store::SqliteJournal::Open(path, config::Durability::kProcess).value(), options, start);
    if (!host) state.SkipWithError("not started");
    state.counters["records"] = static_cast<double>(start.records);
    state.counters["file_mb"] = static_cast<double>(std::filesystem::file_size(path)) / 1'000'000;
  }
}
BENCHMARK(StartFromMillionRecords)->Unit(benchmark::kMillisecond);

// CPU time is that of the whole process: the append on the worker and the row on the log's thread.
void RequestLogRow(benchmark::State& state) {
  auto log = store::RequestLog::Open(FreshFolder() + "/requests.db").value();
  std::uint64_t n = 0;
  SeededRandom random(1);
  for (auto _ : state) {
    telemetry::ExchangeRecord row;
    static_cast<Id128&>(row.request) = MakeId(
        kNow + Microseconds(static_cast<std::int64_t>(30 * ++n)), random.Next(), random.Next());
    row.key = Key(n % 1000);
    row.started_at = kNow + Microseconds(static_cast<std::int64_t>(30 * n));
    row.status = 200;
    row.operation = "responses";
    row.model = row.model_served = "gpt-4o-mini";
    row.upstream = "openai";
    log->Append(row);
    if (n % 16'384 == 0) log->Flush();  // or the queue would drop most of them
  }
  log->Flush();
  if (log->dropped() != 0) state.SkipWithError("dropped");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(RequestLogRow)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
}  // namespace weir

BENCHMARK_MAIN();
