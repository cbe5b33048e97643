// Every point kills exactly where its name says, and nowhere else. A process that is killed cannot
// be asked, so each case runs in a child.
#include "server/crash_point.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "ledger/record.h"

namespace weir::server {
namespace {

// The signal that ended a child which ran `work`, or 0 when it came to the end.
int SignalOf(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(ParseCrashPlan, EveryName_AloneOrWithANumber_IsAPlan) {
  for (const std::string name :
       {"intent_commit", "intent_durable", "dispatched", "checkpoint", "extended", "usage_read",
        "settle_commit", "committed", "unkept", "settled", "final_byte", "recovery", "recovered"}) {
    const auto once = ParseCrashPlan(name);
    ASSERT_TRUE(once) << name;
    EXPECT_EQ(once->nth, 1);
    const auto third = ParseCrashPlan(name + ":3");
    ASSERT_TRUE(third) << name;
    EXPECT_EQ(third->nth, 3);
    EXPECT_EQ(third->at, once->at);
  }
}

TEST(ParseCrashPlan, AnythingElse_IsNone) {
  for (const std::string_view text : {"", ":", "settled:", "settled:0", "settled:-1", "settled:1x",
                                      "settle", "settled:99999999999999999999", " settled"}) {
    EXPECT_FALSE(ParseCrashPlan(text)) << text;
  }
}

TEST(CrashPoint, Reached_TheNthTimeOfItsOwn_Kills) {
  EXPECT_EQ(SignalOf([] { CrashPoint({CrashAt::kSettled, 1}).Reached(CrashAt::kFinalByte); }), 0);
  EXPECT_EQ(SignalOf([] { CrashPoint({CrashAt::kSettled, 1}).Reached(CrashAt::kSettled); }),
            SIGKILL);
  EXPECT_EQ(SignalOf([] { CrashPoint({CrashAt::kSettled, 2}).Reached(CrashAt::kSettled); }), 0);
  EXPECT_EQ(SignalOf([] {
              CrashPoint point({CrashAt::kSettled, 2});
              point.Reached(CrashAt::kSettled);
              point.Reached(CrashAt::kSettled);
            }),
            SIGKILL);
}

// Says through a pipe that the batch was appended, so that before and after can be told apart.
class PipeJournal final : public store::Journal {
 public:
  explicit PipeJournal(int fd) : fd_(fd) {}
  store::AppendOutcome Append(const store::JournalBatch&) override {
    if (::write(fd_, "a", 1) != 1) ::_exit(2);
    return store::AppendOutcome::kDurable;
  }
  Result<void> ReadAll(const Visit&) override { return {}; }
  std::string last_problem() const override { return {}; }

 private:
  int fd_;
};

struct Appended {
  int signal = 0;
  bool written = false;
  friend bool operator==(const Appended&, const Appended&) = default;
};

Appended Append(CrashAt at, const std::vector<ledger::Record>& records) {
  ledger::RecordBuffer buffer;
  for (const auto& record : records) ledger::Encode(record, buffer);
  int ends[2];
  if (::pipe(ends) != 0) return {};
  const int signal = SignalOf([&] {
    const auto journal = WithCrashPoint(std::make_unique<PipeJournal>(ends[1]),
                                        std::make_shared<CrashPoint>(CrashPlan{at, 1}));
    journal->Append({.first_position = 1, .count = buffer.count, .records = buffer.bytes});
  });
  ::close(ends[1]);
  char byte = 0;
  const bool written = ::read(ends[0], &byte, 1) == 1;
  ::close(ends[0]);
  return {signal, written};
}

TEST(CrashJournal, Append_OfEachKind_DiesBeforeOrAfterAsThePointSays) {
  const ledger::Record intent = ledger::IntentRecord{.request = {{1, 1}}, .key = {{2, 2}}};
  const ledger::Record checkpoint = ledger::CheckpointRecord{.request = {{1, 1}}, .key = {{2, 2}}};
  const ledger::Record settle = ledger::SettleRecord{.request = {{1, 1}}, .key = {{2, 2}}};
  const ledger::Record released = ledger::VoidRecord{.request = {{1, 1}}, .key = {{2, 2}}};
  const ledger::Record recovered = ledger::SettleRecord{
      .request = {{1, 1}}, .key = {{2, 2}}, .cause = ledger::ResolveCause::kRecovery};
  const Appended before{SIGKILL, false};
  const Appended after{SIGKILL, true};
  const Appended lives{0, true};

  EXPECT_EQ(Append(CrashAt::kIntentCommit, {intent}), before);
  EXPECT_EQ(Append(CrashAt::kIntentCommit, {checkpoint, settle}), lives);
  EXPECT_EQ(Append(CrashAt::kCheckpoint, {checkpoint}), after);
  EXPECT_EQ(Append(CrashAt::kCheckpoint, {intent, settle}), lives);
  const ledger::Record extension = ledger::ExtendRecord{.request = {{1, 1}}};
  EXPECT_EQ(Append(CrashAt::kExtended, {checkpoint, extension}), after);
  EXPECT_EQ(Append(CrashAt::kExtended, {checkpoint}), lives);
  EXPECT_EQ(Append(CrashAt::kSettleCommit, {intent, settle}), before);
  EXPECT_EQ(Append(CrashAt::kSettleCommit, {released}), before);
  EXPECT_EQ(Append(CrashAt::kSettleCommit, {recovered}), lives);
  EXPECT_EQ(Append(CrashAt::kCommitted, {settle}), after);
  EXPECT_EQ(Append(CrashAt::kCommitted, {intent}), lives);
  EXPECT_EQ(Append(CrashAt::kRecovery, {recovered}), before);
  EXPECT_EQ(Append(CrashAt::kRecovery, {settle}), lives);
  EXPECT_EQ(Append(CrashAt::kRecovered, {recovered}), after);
}

}  // namespace
}  // namespace weir::server
