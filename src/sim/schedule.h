// What a simulation is made of, drawn whole from a seed before it runs: the settings of the
// deployment, the kinds of faults that are switched on (a random subset: swarm testing, Groce 2012,
// finds what a mix of everything hides), and a list of actions. Each action has a seed of its own
// for all that follows from it, so that leaving one out leaves the others as they were.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/money.h"
#include "base/time.h"
#include "config/config.h"

namespace weir::sim {

enum class Fault : std::uint8_t {
  kCrash,            // kill -9
  kCrashInRecovery,  // and again while the start resolves what was open
  kPowerCut,
  kDiskFull,
  kDiskBroken,
  kDiskSlow,
  kClockJump,
  kDrain,
  kReload,         // prices and the rule for hang-ups change
  kBudgetChange,   // of a key, up or down
  kUpstreamError,  // statuses and bodies of every failure class; error events
  kUpstreamLost,   // no connection, no HTTP, cut at any byte
  kUpstreamHang,   // before the head, or anywhere in the body
  kUpstreamSlow,
  kUpstreamOdd,  // a stream for JSON, JSON for a stream, compressed, empty, malformed
  kUsageMissing,
  kUsageLies,  // above the bound, negative, absurd
  kCallerHangsUp,
  kCallerSlow,
  kCallerDeaf,    // never reads
  kCallerBroken,  // bodies that break off, are late, are no JSON; unknown keys and models
  kCallerRetries,
  kGrants,         // of wallets: given, given again, revoked, ended while the run goes on
  kRepliesLost,    // what was kept for an Idempotency-Key is gone
  kCallerRepeats,  // the same key again: while it runs, after its end, after a crash, another body
  kPolicyChange,   // of quota policies: limits, rules, which there are, what is approved on top
  kCount
};

struct FaultName {
  Fault fault;
  std::string_view name;
};
inline constexpr auto kFaultNames = std::to_array<FaultName>({
    {Fault::kCrash, "crash"},
    {Fault::kCrashInRecovery, "crash-in-recovery"},
    {Fault::kPowerCut, "power-cut"},
    {Fault::kDiskFull, "disk-full"},
    {Fault::kDiskBroken, "disk-broken"},
    {Fault::kDiskSlow, "disk-slow"},
    {Fault::kClockJump, "clock-jump"},
    {Fault::kDrain, "drain"},
    {Fault::kReload, "reload"},
    {Fault::kBudgetChange, "budget-change"},
    {Fault::kUpstreamError, "upstream-error"},
    {Fault::kUpstreamLost, "upstream-lost"},
    {Fault::kUpstreamHang, "upstream-hang"},
    {Fault::kUpstreamSlow, "upstream-slow"},
    {Fault::kUpstreamOdd, "upstream-odd"},
    {Fault::kUsageMissing, "usage-missing"},
    {Fault::kUsageLies, "usage-lies"},
    {Fault::kCallerHangsUp, "caller-hangs-up"},
    {Fault::kCallerSlow, "caller-slow"},
    {Fault::kCallerDeaf, "caller-deaf"},
    {Fault::kCallerBroken, "caller-broken"},
    {Fault::kCallerRetries, "caller-retries"},
    {Fault::kGrants, "grants"},
    {Fault::kRepliesLost, "replies-lost"},
    {Fault::kCallerRepeats, "caller-repeats"},
    {Fault::kPolicyChange, "policy-change"},
});
static_assert(kFaultNames.size() == static_cast<std::size_t>(Fault::kCount));

std::string_view Name(Fault fault);
std::optional<Fault> ParseFault(std::string_view name);

class FaultSet {
 public:
  bool Has(Fault fault) const { return ((bits_ >> static_cast<unsigned>(fault)) & 1U) != 0; }
  void Add(Fault fault) { bits_ |= Bit(fault); }
  void Remove(Fault fault) { bits_ &= ~Bit(fault); }
  friend bool operator==(FaultSet, FaultSet) = default;

 private:
  static std::uint32_t Bit(Fault fault) { return 1U << static_cast<unsigned>(fault); }
  std::uint32_t bits_ = 0;
};

inline constexpr std::size_t kKeys = 4;
inline constexpr std::size_t kModels = 2;
inline constexpr std::size_t kPackages = 3;  // without a wallet, of quota tokens, of dollars

struct Settings {
  config::Durability durability = config::Durability::kProcess;
  config::HangUpRule hang_up_rule = config::HangUpRule::kAbortAndBillObserved;
  std::array<config::KeyLimits, kKeys> keys;
  std::array<std::size_t, kKeys> packages{};  // of each key
  std::array<config::HoldRule, kPackages> holds{};
  bool shared_wallet = false;  // the first two keys are of one workspace
  std::int64_t accounts = 2;
  std::int64_t account_slots = 0;  // calls at once of each account; 0: unlimited
  std::int64_t queue_size = 0;
  std::int64_t attempts = 10;            // of a request; twice as many at limits
  std::vector<config::Policy> policies;  // at the start
  std::uint64_t policies_seed = 0;       // of which they are some
  Duration commit_time;                  // of the journal, at most
  Duration think_time;                   // of upstreams, at most
};

struct Action {
  enum class Kind : std::uint8_t {
    kRequest,
    kCrash,
    kPowerCut,
    kDiskFull,
    kDiskBroken,
    kClockJump,
    kDrain,
    kReload,
    kBudgetChange,
    kGrants,
    kPolicyChange,
  };
  std::uint32_t number = 0;  // its name in --only; its place in the schedule of the seed
  Kind kind = Kind::kRequest;
  Tick at;
  std::uint64_t seed = 0;
  // The shrinker took the faults of its caller or of its upstreams away.
  bool calm_caller = false;
  bool calm_upstreams = false;
};

struct Schedule {
  std::uint64_t seed = 0;
  std::uint32_t size = 0;  // actions drawn, before any was left out
  FaultSet faults;
  Settings settings;
  std::vector<Action> actions;  // by time
};

// What a key may spend, as drawn at the start and by each change: nothing is none.
std::optional<NanoUsd> DrawBudget(std::uint64_t seed);

config::WalletKind WalletOfPackage(std::size_t package);

// One grant as it will be given: worth nothing, a few calls or far more than a schedule spends.
struct GrantPlan {
  std::int64_t amount = 0;  // in the wallet's unit
  std::int32_t priority = 0;
  Duration effective_in;
  std::optional<Duration> expires_in;
};
GrantPlan DrawGrant(std::uint64_t seed, config::WalletKind kind);

//   actions  1 .. 100,000: requests for the most part
Schedule MakeSchedule(std::uint64_t seed, std::uint32_t actions);

// Keeps the actions that `only` names: "3,7u,9cu", where u stands for upstreams without faults and
// c for a caller without. False when it is not of that form.
bool KeepOnly(Schedule& schedule, std::string_view only);
// The text that makes this schedule from the whole one again.
std::string OnlyText(const Schedule& schedule);
std::string FaultsText(FaultSet faults);

}  // namespace weir::sim
