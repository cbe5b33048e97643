// The journal on a real file: what was promised is there after a reopening, a kill -9 and a full
// disk; what was altered is named.
#include "store/sqlite_journal.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "store/sqlite.h"

namespace weir::store {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct JournalTest : testing::Test {
  std::string folder = testing::TempDir() + "journal_" + std::to_string(::getpid()) + "_" +
                       testing::UnitTest::GetInstance()->current_test_info()->name();
  std::string path = folder + "/ledger.db";

  JournalTest() { std::filesystem::create_directory(folder); }
  ~JournalTest() override { std::filesystem::remove_all(folder); }

  std::unique_ptr<SqliteJournal> Open(SqliteJournal::Options options = {}) const {
    auto journal = SqliteJournal::Open(path, options);
    EXPECT_TRUE(journal) << journal.error().detail;
    return journal ? std::move(*journal) : nullptr;
  }
  static AppendOutcome Append(Journal& journal, std::uint64_t first, std::uint32_t count,
                              const Bytes& bytes) {
    return journal.Append({.first_position = first, .count = count, .records = bytes});
  }
  static Result<std::vector<Bytes>> ReadAll(Journal& journal) {
    std::vector<Bytes> batches;
    auto read = journal.ReadAll([&](const JournalBatch& batch) -> std::optional<std::string> {
      batches.emplace_back(batch.records.begin(), batch.records.end());
      return std::nullopt;
    });
    if (!read) return std::unexpected(read.error());
    return batches;
  }
  void Alter(const char* sql) const {
    auto db = OpenSqlite(path);
    ASSERT_TRUE(db);
    const auto done = Execute(db->get(), sql);
    ASSERT_TRUE(done) << done.error().detail;
  }
};

TEST_F(JournalTest, Appended_IsReadBackInOrder_AlsoAfterAReopening) {
  {
    auto journal = Open();
    EXPECT_TRUE(ReadAll(*journal).value().empty());
    ASSERT_EQ(Append(*journal, 1, 2, {1, 2}), AppendOutcome::kDurable);
    ASSERT_EQ(Append(*journal, 3, 1, {3}), AppendOutcome::kDurable);
  }
  auto journal = Open({.durability = config::Durability::kPower});
  EXPECT_EQ(ReadAll(*journal).value(), (std::vector<Bytes>{{1, 2}, {3}}));
  ASSERT_EQ(Append(*journal, 4, 1, Bytes(100'000, 7)), AppendOutcome::kDurable);
  EXPECT_EQ(ReadAll(*journal).value().back().size(), 100'000U);
}

// Slices one behind the other, with appends in between, are the journal.
TEST_F(JournalTest, ReadSome_GoesOnBehindAPosition_AndSeesWhatWasAppendedMeanwhile) {
  auto journal = Open();
  const auto empty = journal->ReadSome(0, 100);
  ASSERT_TRUE(empty) << empty.error().detail;
  EXPECT_TRUE(empty->batches.empty());
  EXPECT_EQ(empty->tail.position, 0U);
  ASSERT_EQ(Append(*journal, 1, 2, Bytes(60, 1)), AppendOutcome::kDurable);
  ASSERT_EQ(Append(*journal, 3, 1, Bytes(60, 3)), AppendOutcome::kDurable);

  const auto first = journal->ReadSome(0, 100).value();
  ASSERT_EQ(first.batches.size(), 1U) << "two would be more than was asked for";
  EXPECT_EQ(first.batches[0].first_position, 1U);
  EXPECT_EQ(first.batches[0].count, 2U);
  EXPECT_EQ(first.batches[0].records, Bytes(60, 1));
  EXPECT_EQ(first.tail.position, 3U);
  EXPECT_EQ(first.tail.chain, journal->Tail().chain);
  ASSERT_EQ(Append(*journal, 4, 1, Bytes(60, 4)), AppendOutcome::kDurable);

  const auto rest = journal->ReadSome(2, 120).value();
  ASSERT_EQ(rest.batches.size(), 2U) << "exactly as much as was asked for";
  EXPECT_EQ(rest.batches[0].first_position, 3U);
  EXPECT_EQ(rest.batches[1].first_position, 4U);
  EXPECT_EQ(rest.batches[1].chain, journal->Tail().chain);
  EXPECT_EQ(journal->ReadSome(2, 0)->batches.size(), 1U) << "one, however large";
  EXPECT_TRUE(journal->ReadSome(4, 100)->batches.empty());
  EXPECT_TRUE(journal->ReadSome(UINT64_MAX, 100)->batches.empty());
  EXPECT_EQ(ReadAll(*journal)->size(), 3U);
}

TEST_F(JournalTest, ReadSome_OfManySmallBatches_IsSomeOfThem) {
  auto journal = Open();
  for (std::uint64_t n = 1; n <= 600; ++n) {
    ASSERT_EQ(Append(*journal, n, 1, {1}), AppendOutcome::kDurable);
  }
  EXPECT_EQ(journal->ReadSome(0, 1'000'000)->batches.size(), 512U);
  EXPECT_EQ(journal->ReadSome(512, 1'000'000)->batches.size(), 88U);
}

// A reading that stayed open would keep every commit since then in the WAL.
TEST_F(JournalTest, ReadSome_LeavesCheckpointsFree) {
  auto journal = Open();
  for (std::uint64_t n = 1; n <= 300; ++n) {
    ASSERT_EQ(Append(*journal, n, 1, Bytes(100'000, static_cast<std::uint8_t>(n))),
              AppendOutcome::kDurable);
    ASSERT_EQ(journal->ReadSome(0, 1'000'000)->batches.size(), std::min<std::uint64_t>(n, 10));
  }
  EXPECT_LT(std::filesystem::file_size(path + "-wal"), 24U << 20);  // 30 MB went through it
}

TEST_F(JournalTest, SecondOpening_IsRefusedInOneSentence_UntilTheFirstEnds) {
  auto journal = Open();
  const auto second = SqliteJournal::Open(path, config::Durability::kProcess);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_NE(second.error().detail.find("process " + std::to_string(::getpid()) + ":"),
            std::string::npos)
      << second.error().detail;
  journal.reset();
  EXPECT_NE(Open(), nullptr);
}

TEST_F(JournalTest, FilesAreTheOwnersOnly) {
  auto journal = Open();
  ASSERT_EQ(Append(*journal, 1, 1, {1}), AppendOutcome::kDurable);
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    EXPECT_EQ(file.status().permissions() & std::filesystem::perms(077),
              std::filesystem::perms::none)
        << file.path();
  }
}

TEST_F(JournalTest, Full_WritesNothing_AndGoesOnWhenThereIsSpace) {
  {
    auto journal = Open({.pages_max = 8});
    ASSERT_EQ(Append(*journal, 1, 1, {1}), AppendOutcome::kDurable);
    EXPECT_EQ(Append(*journal, 2, 3, Bytes(200'000, 9)), AppendOutcome::kNoSpace);
    EXPECT_NE(journal->last_problem().find("full"), std::string::npos) << journal->last_problem();
    EXPECT_EQ(Append(*journal, 2, 3, Bytes(200'000, 9)), AppendOutcome::kNoSpace);
    EXPECT_EQ(Append(*journal, 2, 1, {2}), AppendOutcome::kDurable);
    EXPECT_EQ(ReadAll(*journal).value(), (std::vector<Bytes>{{1}, {2}}));
  }
  auto journal = Open();
  EXPECT_EQ(Append(*journal, 3, 3, Bytes(200'000, 9)), AppendOutcome::kDurable);
  EXPECT_EQ(ReadAll(*journal).value().size(), 3U);
}

TEST_F(JournalTest, Checkpoints_KeepTheWalSmall) {
  auto journal = Open();
  for (std::uint64_t n = 1; n <= 300; ++n) {
    ASSERT_EQ(Append(*journal, n, 1, Bytes(100'000, static_cast<std::uint8_t>(n))),
              AppendOutcome::kDurable);
  }
  EXPECT_LT(std::filesystem::file_size(path + "-wal"), 24U << 20);  // 30 MB went through it
  EXPECT_EQ(ReadAll(*journal).value().size(), 300U);
}

TEST_F(JournalTest, Visitor_ThatRefusesABatch_EndsTheReading) {
  auto journal = Open();
  ASSERT_EQ(Append(*journal, 1, 1, {1}), AppendOutcome::kDurable);
  ASSERT_EQ(Append(*journal, 2, 1, {2}), AppendOutcome::kDurable);
  int seen = 0;
  const auto read = journal->ReadAll([&](const JournalBatch&) -> std::optional<std::string> {
    ++seen;
    return "not mine";
  });
  ASSERT_FALSE(read);
  EXPECT_EQ(seen, 1);
  EXPECT_NE(read.error().detail.find("row 1: not mine"), std::string::npos);
}

TEST_F(JournalTest, Altered_IsNamed) {
  struct Row {
    const char* what;
    const char* sql;
    const char* says;
  };
  const Row rows[] = {
      {"a flipped bit", "UPDATE journal SET records = x'0102' WHERE first_position = 2", "row 2"},
      {"another count", "UPDATE journal SET count = 2 WHERE first_position = 3", "row 3"},
      {"a removed row", "DELETE FROM journal WHERE first_position = 2",
       "records from 2 are missing"},
      {"a removed beginning", "DELETE FROM journal WHERE first_position = 1",
       "records from 1 are missing"},
      {"another chain", "UPDATE journal SET chain = zeroblob(32) WHERE first_position = 2",
       "row 2"},
      {"two rows that changed places",
       "UPDATE journal SET records = (SELECT j.records FROM journal j WHERE j.first_position = "
       "5 - journal.first_position) WHERE first_position IN (2, 3)",
       "row 2"},
  };
  for (const Row& row : rows) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    {
      auto journal = Open();
      for (std::uint8_t n = 1; n <= 3; ++n) {
        ASSERT_EQ(Append(*journal, n, 1, {n}), AppendOutcome::kDurable);
      }
    }
    Alter(row.sql);
    auto journal = Open();
    const auto read = ReadAll(*journal);
    ASSERT_FALSE(read) << row.what;
    EXPECT_EQ(read.error().code, ErrorCode::kBadInput) << row.what;
    EXPECT_NE(read.error().detail.find(row.says), std::string::npos) << read.error().detail;
  }
}

TEST_F(JournalTest, Altered_NamesTheLastGoodPositionAndWhatToDo) {
  {
    auto journal = Open();
    ASSERT_EQ(Append(*journal, 1, 4, {1}), AppendOutcome::kDurable);
    ASSERT_EQ(Append(*journal, 5, 2, {2}), AppendOutcome::kDurable);
  }
  Alter("UPDATE journal SET records = x'00' WHERE first_position = 5");
  auto journal = Open();
  const auto read = ReadAll(*journal);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().detail,
            "journal row 5: its chain does not fit, so it or a row before it was changed; the last "
            "good position is 4. Restore the journal from a backup");
}

TEST_F(JournalTest, Tail_IsTheSameAfterAReopening_AndTellsACutOffEnd) {
  JournalTail tail;
  {
    auto journal = Open();
    EXPECT_EQ(journal->Tail().position, 0U);
    ASSERT_EQ(Append(*journal, 1, 2, {1, 2}), AppendOutcome::kDurable);
    ASSERT_EQ(Append(*journal, 3, 1, {3}), AppendOutcome::kDurable);
    tail = journal->Tail();
    EXPECT_EQ(tail.position, 3U);
    EXPECT_EQ(tail.batches, 2U);
  }
  {
    auto journal = Open();
    std::vector<std::uint64_t> seen;
    std::vector<std::uint8_t> last;
    journal->OnChain([&](std::uint64_t position, std::span<const std::uint8_t, 32> chain) {
      seen.push_back(position);
      last.assign(chain.begin(), chain.end());
    });
    ASSERT_TRUE(ReadAll(*journal));
    EXPECT_EQ(seen, (std::vector<std::uint64_t>{2, 3}));
    EXPECT_EQ(last, Bytes(tail.chain.begin(), tail.chain.end()));
    EXPECT_EQ(journal->Tail().chain, tail.chain);
    EXPECT_EQ(journal->Tail().batches, 2U);
  }
  Alter("DELETE FROM journal WHERE first_position = 3");
  auto journal = Open();
  ASSERT_TRUE(ReadAll(*journal));
  EXPECT_EQ(journal->Tail().position, 2U);
  EXPECT_NE(journal->Tail().chain, tail.chain);
}

TEST_F(JournalTest, ReadOnly_ChangesNothing_AndMakesNothing) {
  EXPECT_EQ(SqliteJournal::Open(path, {.read_only = true}).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  const auto state = [&] {
    std::vector<std::pair<std::string, std::string>> files;
    for (const std::string name : {"ledger.db", "ledger.db-wal", "ledger.db-shm"}) {
      std::ifstream in(folder + "/" + name, std::ios::binary);
      files.emplace_back(name, std::string(std::istreambuf_iterator<char>(in), {}));
    }
    return files;
  };
  // A child that is killed leaves what it wrote in the WAL.
  const pid_t child = ::fork();
  if (child == 0) {
    auto journal = SqliteJournal::Open(path, config::Durability::kProcess);
    if (!journal || Append(**journal, 1, 1, {7}) != AppendOutcome::kDurable) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto before = state();
  ASSERT_FALSE(before[1].second.empty());
  {
    auto journal = Open({.read_only = true});
    ASSERT_NE(journal, nullptr);
    EXPECT_EQ(ReadAll(*journal).value(), (std::vector<Bytes>{{7}}));
  }
  EXPECT_EQ(state(), before);
}

TEST_F(JournalTest, ReadOnly_BesideAGateway_IsRefused) {
  auto journal = Open();
  EXPECT_EQ(SqliteJournal::Open(path, {.read_only = true}).error().code, ErrorCode::kConflict);
}

TEST_F(JournalTest, GapInPositions_IsOurBug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto journal = Open();
  EXPECT_DEATH(Append(*journal, 2, 1, {1}), "no gaps");
}

// The promise itself: a child appends and says over a pipe what is durable; it is killed at once
// and in the middle of whatever it was doing; everything it said is there.
TEST_F(JournalTest, KillMinusNine_LosesNothingThatWasPromised) {
  std::uint64_t expected_next = 1;
  for (int cycle = 0; cycle < 12; ++cycle) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(pipe_fds[0]);
      auto journal = SqliteJournal::Open(path, config::Durability::kProcess);
      if (!journal) ::_exit(1);
      for (std::uint64_t n = expected_next;; ++n) {
        const Bytes bytes(1 + n % 3000, static_cast<std::uint8_t>(n));
        if ((*journal)->Append({.first_position = n, .count = 1, .records = bytes}) !=
            AppendOutcome::kDurable) {
          ::_exit(2);
        }
        if (::write(pipe_fds[1], &n, sizeof n) != sizeof n) ::_exit(3);
      }
    }
    ::close(pipe_fds[1]);
    // Waits for a number of promises that differs each time, then kills without waiting for more.
    std::uint64_t promised = expected_next - 1;
    const std::uint64_t until = expected_next + static_cast<std::uint64_t>(cycle * 17 % 50);
    while (promised < until) {
      ASSERT_EQ(::read(pipe_fds[0], &promised, sizeof promised),
                static_cast<ssize_t>(sizeof promised));
    }
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    while (::read(pipe_fds[0], &promised, sizeof promised) == sizeof promised) {
    }
    ::close(pipe_fds[0]);

    auto journal = Open();
    ASSERT_NE(journal, nullptr);
    const auto batches = ReadAll(*journal);
    ASSERT_TRUE(batches) << batches.error().detail;
    ASSERT_GE(batches->size(), promised) << "cycle " << cycle;
    for (std::size_t i = 0; i < batches->size(); ++i) {
      const std::uint64_t n = i + 1;
      ASSERT_EQ((*batches)[i], Bytes(1 + n % 3000, static_cast<std::uint8_t>(n)));
    }
    expected_next = batches->size() + 1;
  }
}

}  // namespace
}  // namespace weir::store
