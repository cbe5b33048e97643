#include "net/stream.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace weir::net {
namespace {

// A connected pair over loopback: a stream of ours and the peer's plain descriptor.
struct Pair {
  explicit Pair(Loop& loop) {
    asio::io_context context;
    asio::ip::tcp::acceptor acceptor(context,
                                     asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    asio::ip::tcp::socket far(context);
    far.connect(acceptor.local_endpoint());
    TcpSocket near(loop.context());
    acceptor.accept(near);
    peer = far.release();
    stream = std::make_unique<TcpStream>(loop, std::move(near));
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  ~Pair() { ClosePeer(); }

  void Say(std::string_view text) const {
    ASSERT_EQ(::send(peer, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  void ClosePeer() {
    if (peer >= 0) ::close(std::exchange(peer, -1));
  }

  int peer = -1;
  std::unique_ptr<TcpStream> stream;
};

// Runs `task` on the loop to its end.
void RunToEnd(Loop& loop, Task<void> task) {
  Spawn([](Loop& loop, Task<void> inner) -> Task<void> {
    co_await std::move(inner);
    loop.Stop();
  }(loop, std::move(task)));
  loop.Run();
}

Task<std::string> ReadAll(TcpStream& stream, std::size_t room, IoStatus& end) {
  std::string all;
  std::string buffer(room, '\0');
  while (true) {
    const IoResult read =
        co_await stream.ReadSome({buffer.data(), room}, kNoDeadline, Stream::Expect::kBytesLater);
    if (read.status != IoStatus::kOk) {
      end = read.status;
      co_return all;
    }
    all.append(buffer, 0, read.bytes);
  }
}

TEST(TcpStream, Read_AnyRoom_GetsAllBytesAndTheEndBehindThem) {
  // Readiness is told once. Bytes and the peer's end may come as one event or as two, and reads may
  // fill their room or not: none of it may lose the end.
  for (const std::size_t room : {1U, 3U, 4U, 5U, 12U, 13U, 64U}) {
    Loop loop;
    Pair pair(loop);
    std::string got;
    IoStatus end = IoStatus::kOk;
    pair.Say("hello, ");
    const auto talk = [&]() -> Task<void> {
      std::string first(room, '\0');
      const IoResult read = co_await pair.stream->ReadSome({first.data(), room}, kNoDeadline,
                                                           Stream::Expect::kBytesNow);
      EXPECT_EQ(read.status, IoStatus::kOk);
      got = first.substr(0, read.bytes);
      pair.Say("world");
      pair.ClosePeer();
      got += co_await ReadAll(*pair.stream, room, end);
    };
    RunToEnd(loop, talk());
    EXPECT_EQ(got, "hello, world") << room;
    EXPECT_EQ(end, IoStatus::kEof) << room;
  }
}

TEST(TcpStream, Read_ResetByThePeer_IsAnError) {
  Loop loop;
  Pair pair(loop);
  const linger reset{1, 0};
  ::setsockopt(pair.peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  pair.ClosePeer();
  IoStatus end = IoStatus::kOk;
  const auto talk = [&]() -> Task<void> { co_await ReadAll(*pair.stream, 16, end); };
  RunToEnd(loop, talk());
  EXPECT_EQ(end, IoStatus::kError);
}

TEST(TcpStream, Read_PastItsDeadline_TimesOutAndMayBeRepeated) {
  Loop loop;
  Pair pair(loop);
  std::vector<IoStatus> seen;
  const auto talk = [&]() -> Task<void> {
    std::array<char, 8> room{};
    for (int i = 0; i < 2; ++i) {
      const IoResult read = co_await pair.stream->ReadSome(room, loop.Now() + Milliseconds(1),
                                                           Stream::Expect::kBytesLater);
      seen.push_back(read.status);
      if (i == 0) EXPECT_EQ(co_await pair.stream->AwaitReadable(loop.Now()), IoStatus::kTimeout);
    }
    pair.Say("x");
    const IoResult read =
        co_await pair.stream->ReadSome(room, kNoDeadline, Stream::Expect::kBytesLater);
    seen.push_back(read.status);
  };
  RunToEnd(loop, talk());
  EXPECT_EQ(seen, (std::vector{IoStatus::kTimeout, IoStatus::kTimeout, IoStatus::kOk}));
}

TEST(TcpStream, Cancel_WakesTheReaderFromTheLoopAndStays) {
  Loop loop;
  Pair pair(loop);
  IoStatus end = IoStatus::kOk;
  bool inside = false;
  loop.Post([&] {
    inside = true;
    pair.stream->Cancel();
    inside = false;
  });
  const auto talk = [&]() -> Task<void> {
    co_await ReadAll(*pair.stream, 16, end);
    EXPECT_FALSE(inside);
    EXPECT_EQ(end, IoStatus::kCancelled);
    EXPECT_EQ(co_await pair.stream->AwaitReadable(kNoDeadline), IoStatus::kCancelled);
  };
  RunToEnd(loop, talk());
}

TEST(TcpStream, Close_WhileSomeoneReads_EndsTheRead) {
  Loop loop;
  Pair pair(loop);
  IoStatus end = IoStatus::kOk;
  loop.Post([&] { pair.stream->Close(); });
  const auto talk = [&]() -> Task<void> { co_await ReadAll(*pair.stream, 16, end); };
  RunToEnd(loop, talk());
  EXPECT_EQ(end, IoStatus::kError);
}

TEST(TcpStream, Write_MoreThanThePeerTakes_WaitsAndLosesNothing) {
  Loop loop;
  Pair pair(loop);
  const std::string sent(8 << 20, 'w');
  std::size_t received = 0;
  IoStatus written = IoStatus::kError;
  const auto write = [&]() -> Task<void> {
    std::array<iovec, 1> pieces{iovec{const_cast<char*>(sent.data()), sent.size()}};
    written = co_await pair.stream->WriteAll(pieces, kNoDeadline);
  };
  // The peer reads a piece at a time, from the same thread, whenever the loop is free.
  std::string room(256 << 10, '\0');
  std::function<void()> take = [&] {
    const ssize_t count = ::recv(pair.peer, room.data(), room.size(), MSG_DONTWAIT);
    if (count > 0) received += static_cast<std::size_t>(count);
    if (received < sent.size()) loop.Post(take);
  };
  loop.Post(take);
  RunToEnd(loop, write());
  EXPECT_EQ(written, IoStatus::kOk);
  while (received < sent.size()) take();
  EXPECT_EQ(received, sent.size());
}

TEST(TcpStream, Write_PeerTakesNothing_TimesOut) {
  Loop loop;
  Pair pair(loop);
  const std::string sent(16 << 20, 'w');
  IoStatus written = IoStatus::kOk;
  const auto write = [&]() -> Task<void> {
    std::array<iovec, 1> pieces{iovec{const_cast<char*>(sent.data()), sent.size()}};
    written = co_await pair.stream->WriteAll(pieces, loop.Now() + Milliseconds(1));
  };
  RunToEnd(loop, write());
  EXPECT_EQ(written, IoStatus::kTimeout);
}

TEST(TcpStream, PeerThatNeverStops_LeavesTheLoopToOthers) {
  Loop loop;
  Pair busy(loop);
  Pair quiet(loop);
  bool done = false;
  const auto drink = [&]() -> Task<void> {
    std::array<char, 4> room{};  // filled by every read, so the socket never looks empty
    while (!done) {
      co_await busy.stream->ReadSome(room, kNoDeadline, Stream::Expect::kBytesLater);
      busy.Say("more");
    }
  };
  busy.Say("first and more");
  quiet.Say("x");
  Spawn(drink());
  const auto talk = [&]() -> Task<void> {
    std::array<char, 4> room{};
    const IoResult read =
        co_await quiet.stream->ReadSome(room, kNoDeadline, Stream::Expect::kBytesLater);
    EXPECT_EQ(read.bytes, 1U);
    done = true;
    // Let the other end before its stream does.
    co_await loop.Sleep(Milliseconds(1));
  };
  RunToEnd(loop, talk());
  EXPECT_TRUE(done);
}

TEST(TcpStream, Watch_IsToldOnceAndAlsoOfBytesThatWereThere) {
  struct Told final : TcpStream::Watcher {
    void OnReadable() override { ++times; }
    int times = 0;
  };
  Loop loop;
  Pair pair(loop);
  Told told;
  const auto talk = [&]() -> Task<void> {
    pair.Say("abc");
    std::array<char, 1> one{};
    co_await pair.stream->ReadSome(one, kNoDeadline, Stream::Expect::kBytesLater);
    pair.stream->Watch(&told);
    EXPECT_EQ(told.times, 0) << "from the loop, not from inside the call";
    co_await loop.Sleep(Milliseconds(1));
    EXPECT_EQ(told.times, 1) << "bytes that a read left behind";
    pair.Say("d");
    co_await loop.Sleep(Milliseconds(1));
    EXPECT_EQ(told.times, 1) << "once";
    std::array<char, 64> rest{};
    EXPECT_EQ(pair.stream->ReadNow(rest)->bytes, 3U);
    EXPECT_FALSE(pair.stream->ReadNow(rest));
    pair.stream->Watch(&told);
    pair.ClosePeer();
    while (told.times < 2) co_await loop.Sleep(Milliseconds(1));
    EXPECT_EQ(pair.stream->ReadNow(rest)->status, IoStatus::kEof);
  };
  RunToEnd(loop, talk());
}

TEST(TcpStream, IdleAndOpen_ByteOrEndFromThePeer_IsNotIdle) {
  for (const bool says_something : {true, false}) {
    Loop loop;
    Pair pair(loop);
    const auto talk = [&]() -> Task<void> {
      EXPECT_TRUE(pair.stream->IdleAndOpen());
      says_something ? pair.Say("x") : pair.ClosePeer();
      while (pair.stream->IdleAndOpen()) co_await loop.Sleep(Milliseconds(1));
    };
    RunToEnd(loop, talk());
    EXPECT_FALSE(pair.stream->IdleAndOpen()) << says_something;
  }
}

struct NotedWaiter final : Poller::Waiter {
  void Note(std::uint32_t seen) override { events.push_back(seen); }
  void ResumeWriter() override {
    if (on_write) on_write();
  }
  void ResumeReader() override { ++reader_turns; }
  std::vector<std::uint32_t> events;
  std::function<void()> on_write;
  int reader_turns = 0;
};

TEST(Poller, Removed_GetsNeitherTheRestOfItsTurnNorALateWake) {
  Loop loop;
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()), 0);
  NotedWaiter first;
  NotedWaiter second;
  const auto token = loop.poller().Add(pair[0], first);
  loop.poller().Wake(token);
  loop.poller().Wake(token);
  first.on_write = [&] {
    // Ends in the middle of its turn; the number goes to another at once.
    loop.poller().Remove(token);
    loop.poller().Add(pair[1], second);
  };
  const auto wait = [&]() -> Task<void> {
    while (second.events.empty()) co_await loop.Sleep(Milliseconds(1));
  };
  RunToEnd(loop, wait());
  EXPECT_EQ(first.events.size(), 1U);
  EXPECT_EQ(first.reader_turns, 0);
  EXPECT_EQ(second.events, (std::vector<std::uint32_t>{EPOLLOUT}))
      << "only its own event, not the wake of the one before";
  ::close(pair[0]);
  ::close(pair[1]);
}

}  // namespace
}  // namespace weir::net
