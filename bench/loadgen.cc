// loadgen: the caller's side of `./dev bench proxy`. One thread, epoll, no parsing beyond what
// counting needs, so that the proxy is the bottleneck and not this.
//
// It prints {"ready":true} when the measured window opens and one JSON object when it closes;
// between the two the caller of this program reads the CPU clock of whatever it measures.
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "raw_net.h"

namespace weir::bench {
namespace {

constexpr const char* kHelp =
    "loadgen --port N --mode closed|rate|sse [--host H] [--path P] [--key K] [--connections N]\n"
    "        [--seconds S] [--warmup S] [--rate N] [--body-bytes N] [--model M] [--switches TEXT]\n"
    "closed  every connection sends its next request when it has its reply\n"
    "rate    --rate requests a second on a fixed schedule; latency counts from when a request was "
    "due\n"
    "sse     --connections streams; counts events\n";

constexpr std::size_t kReadBytes = 256 << 10;
constexpr std::int64_t kOpeningMax = 200;  // streams that may be opening at once

struct Options {
  std::string mode, path, key, model, switches;
  std::uint16_t port = 0;
  std::int64_t connections = 0, seconds = 0, warmup = 0, rate = 0, body_bytes = 0;
};

// How far the reply on one connection has been read. Feed() returns true at the end of a reply.
class Reply {
 public:
  bool Feed(std::string_view bytes) {
    if (in_head_) {
      head_ += bytes;
      const auto end = head_.find("\r\n\r\n");
      if (end == std::string::npos) return false;
      StartBody(std::string_view(head_).substr(0, end));
      const std::string body = head_.substr(end + 4);
      head_.clear();
      return FeedBody(body);
    }
    return FeedBody(bytes);
  }
  int status() const { return status_; }
  bool in_head() const { return in_head_; }
  bool close() const { return close_; }
  std::int64_t TakeEvents() { return std::exchange(events_, 0); }
  void Reset() { *this = Reply(); }

 private:
  void StartBody(std::string_view head) {
    in_head_ = false;
    status_ = head.size() > 12 ? std::atoi(std::string(head.substr(9, 3)).c_str()) : 0;
    chunked_ = false;
    left_ = 0;
    for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;
         at = head.find("\r\n", at + 2)) {
      const std::string line(head.substr(at + 2, head.find("\r\n", at + 2) - at - 2));
      if (StartsWithIgnoreCase(line, "content-length:")) left_ = std::atoll(line.c_str() + 15);
      if (StartsWithIgnoreCase(line, "transfer-encoding:")) chunked_ = true;
      if (StartsWithIgnoreCase(line, "connection: close")) close_ = true;
    }
  }

  bool FeedBody(std::string_view bytes) {
    if (!chunked_) {
      left_ -= static_cast<std::int64_t>(bytes.size());
      return left_ <= 0;
    }
    while (!bytes.empty()) {
      if (left_ > 0) {
        const auto take = std::min<std::size_t>(bytes.size(), static_cast<std::size_t>(left_));
        CountEvents(bytes.substr(0, take));
        bytes.remove_prefix(take);
        left_ -= static_cast<std::int64_t>(take);
      } else if (bytes.front() != '\n') {  // in a size line, or in the line end after a chunk
        line_ += bytes.front();
        bytes.remove_prefix(1);
      } else {
        bytes.remove_prefix(1);
        const std::string line = std::exchange(line_, std::string());
        if (last_) return true;
        if (line.size() <= 1) continue;  // "\r" after a chunk
        left_ = std::strtoll(line.c_str(), nullptr, 16);
        last_ = left_ == 0;
      }
    }
    return false;
  }

  // An event ends with a blank line, which may be cut anywhere.
  void CountEvents(std::string_view bytes) {
    for (const char c : bytes) {
      if (c == '\n' && previous_ == '\n') ++events_;
      previous_ = c;
    }
  }

  std::string head_;
  std::string line_;
  std::int64_t left_ = 0;
  std::int64_t events_ = 0;
  int status_ = 0;
  char previous_ = 0;
  bool in_head_ = true;
  bool chunked_ = false;
  bool close_ = false;
  bool last_ = false;
};

struct Connection {
  int fd = -1;
  Reply reply;
  std::int64_t due_us = 0;  // when the request in flight was due
  std::size_t sent = 0;     // of the request
  bool busy = false;
  bool open = false;  // a stream whose head has arrived
};

class LoadGenerator {
 public:
  explicit LoadGenerator(Options options) : options_(std::move(options)), buffer_(kReadBytes) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    Watch(timer_, EPOLLIN, EPOLL_CTL_ADD);
    MakeRequest();
    connections_.resize(static_cast<std::size_t>(options_.connections));
  }

  int Run() {
    const bool rate = options_.mode == "rate";
    const bool sse = options_.mode == "sse";
    if (!sse) {
      for (auto& connection : connections_) Connect(connection);
      for (auto& connection : connections_) {
        if (!rate) Start(connection, NowMicroseconds());
      }
    }
    start_us_ = NowMicroseconds();
    if (!sse) window_opens_us_ = start_us_ + options_.warmup * 1'000'000;
    if (rate) next_due_us_ = start_us_;
    ArmTimer();
    while (!finished_) {
      epoll_event events[512];
      const int count = epoll_wait(epoll_, events, 512, 100);
      for (int i = 0; i < count; ++i) {
        const int fd = events[i].data.fd;
        if (fd == timer_) {
          std::uint64_t ticks = 0;
          if (read(timer_, &ticks, sizeof ticks) < 0) continue;
          continue;
        }
        Connection& connection = connections_[by_fd_[static_cast<std::size_t>(fd)]];
        if (connection.fd != fd) continue;
        if ((events[i].events & EPOLLOUT) != 0) Write(connection);
        if (connection.fd == fd && (events[i].events & ~EPOLLOUT) != 0) Read(connection);
      }
      Advance();
    }
    Report();
    return failures_ > 0 && replies_ == 0 ? 1 : 0;
  }

 private:
  void MakeRequest() {
    const bool chat = options_.path.find("/chat/") != std::string::npos;
    std::string body = R"({"model":")" + options_.model + R"(","stream":)";
    body += options_.mode == "sse" ? "true" : "false";
    body += R"(,"max_)";
    body += chat ? "completion" : "output";
    body += R"(_tokens":256,)";
    body += chat ? R"("messages":[{"role":"user","content":")" : R"("input":")";
    body += options_.switches + " ";
    const std::string tail = chat ? R"("}]})" : R"("})";
    while (static_cast<std::int64_t>(body.size() + tail.size()) < options_.body_bytes) {
      body += "the quick brown fox jumps over it ";
    }
    body += tail;
    request_ = "POST " + options_.path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " +
               options_.key +
               "\r\nContent-Type: application/json\r\nAccept: */*\r\nUser-Agent: "
               "loadgen\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  void Watch(int fd, std::uint32_t what, int operation) const {
    epoll_event event{};
    event.events = what;
    event.data.fd = fd;
    epoll_ctl(epoll_, operation, fd, &event);
  }

  void Connect(Connection& connection) {
    connection.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection.fd < 0) Die("socket");
    const sockaddr_in address = Loopback(options_.port);
    // A blocking connect on loopback: it costs nothing and keeps the states few.
    if (connect(connection.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      Die("connect");
    SetNoDelay(connection.fd);
    const auto fd = static_cast<std::size_t>(connection.fd);
    if (fd >= by_fd_.size()) by_fd_.resize(fd + 1024);
    by_fd_[fd] = static_cast<std::size_t>(&connection - connections_.data());
    connection.reply.Reset();
    connection.busy = false;
    connection.open = false;
    Watch(connection.fd, EPOLLIN, EPOLL_CTL_ADD);
  }

  void Start(Connection& connection, std::int64_t due_us) {
    connection.busy = true;
    connection.due_us = due_us;
    connection.sent = 0;
    connection.reply.Reset();
    Write(connection);
  }

  void Write(Connection& connection) {
    const std::string_view rest = std::string_view(request_).substr(connection.sent);
    if (rest.empty()) return;
    const ssize_t sent = send(connection.fd, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
      Lose(connection);
      return;
    }
    const bool was_waiting = connection.sent > 0 || sent < 0;
    connection.sent += static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
    const bool waits = connection.sent < request_.size();
    if (waits || was_waiting) {
      Watch(connection.fd, waits ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
    }
  }

  // A connection that ended where no reply ended. Between requests a server may close: that is no
  // failure, and the next request opens a new one.
  void Lose(Connection& connection) {
    if (connection.busy) {
      ++failures_;
      if (connection.open) --open_;
      if (options_.mode == "sse" && !connection.open) --opening_;
    }
    close(connection.fd);
    connection.fd = -1;
    const bool again = connection.busy && options_.mode == "closed" && failures_ < 1000;
    connection.busy = false;
    connection.open = false;
    if (again) {
      Connect(connection);
      Start(connection, NowMicroseconds());
    }
  }

  void Read(Connection& connection) {
    const ssize_t got = recv(connection.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got <= 0) {
      if (got < 0 && errno == EAGAIN) return;
      Lose(connection);
      return;
    }
    const bool done = connection.reply.Feed({buffer_.data(), static_cast<std::size_t>(got)});
    if (options_.mode == "sse" && !connection.open && !connection.reply.in_head()) {
      connection.open = true;
      --opening_;
      ++open_;
      if (connection.reply.status() != 200) ++failures_;
    }
    events_ += connection.reply.TakeEvents();
    if (done) Finish(connection);
  }

  void Finish(Connection& connection) {
    const std::int64_t now = NowMicroseconds();
    if (connection.reply.status() != 200) {
      ++failures_;
      last_failure_ = connection.reply.status();
    }
    ++replies_;
    if (window_open_) latencies_us_.push_back(static_cast<std::uint32_t>(now - connection.due_us));
    connection.busy = false;
    if (connection.reply.close() && options_.mode != "sse") {
      close(connection.fd);
      Connect(connection);
    }
    if (options_.mode == "closed") {
      Start(connection, now);
    } else if (options_.mode == "sse") {
      --open_;
      close(connection.fd);
      connection.fd = -1;
      connection.open = false;
    }
  }

  void Advance() {
    const std::int64_t now = NowMicroseconds();
    if (options_.mode == "rate") SendDue(now);
    if (options_.mode == "sse") OpenStreams(now);
    if (!window_open_ && window_opens_us_ > 0 && now >= window_opens_us_) {
      window_open_ = true;
      window_opens_us_ = now;
      replies_at_open_ = replies_;
      events_at_open_ = events_;
      failures_at_open_ = failures_;
      cpu_us_at_open_ = CpuMicroseconds();
      std::printf("{\"ready\":true,\"open\":%lld}\n", static_cast<long long>(open_));
      std::fflush(stdout);
    }
    finished_ = window_open_ && now >= window_opens_us_ + options_.seconds * 1'000'000;
  }

  void SendDue(std::int64_t now) {
    while (next_due_us_ <= now) {
      auto idle = std::find_if(connections_.begin(), connections_.end(),
                               [](const Connection& c) { return !c.busy; });
      // All busy: the schedule slips, and the latency of the next request shows it.
      if (idle == connections_.end()) break;
      if (idle->fd < 0) Connect(*idle);
      Start(*idle, next_due_us_);
      next_due_us_ += 1'000'000 / options_.rate;
    }
    ArmTimer();
  }

  void ArmTimer() {
    if (options_.mode != "rate") return;
    itimerspec spec{};
    const std::int64_t wait_us = std::max<std::int64_t>(next_due_us_ - NowMicroseconds(), 1);
    spec.it_value.tv_sec = wait_us / 1'000'000;
    spec.it_value.tv_nsec = wait_us % 1'000'000 * 1000;
    timerfd_settime(timer_, 0, &spec, nullptr);
  }

  void OpenStreams(std::int64_t now) {
    while (next_stream_ < connections_.size() && opening_ < kOpeningMax) {
      Connection& connection = connections_[next_stream_++];
      ++opening_;
      Connect(connection);
      Start(connection, now);
    }
    if (window_opens_us_ == 0 && next_stream_ == connections_.size() && opening_ <= 0) {
      window_opens_us_ = now + options_.warmup * 1'000'000;
    }
    if (now - start_us_ > 60'000'000 && window_opens_us_ == 0) window_opens_us_ = now;
  }

  void Report() {
    const std::int64_t now = NowMicroseconds();
    const double seconds = static_cast<double>(now - window_opens_us_) / 1e6;
    const std::int64_t replies = replies_ - replies_at_open_;
    std::sort(latencies_us_.begin(), latencies_us_.end());
    const auto quantile = [&](double q) -> std::int64_t {
      if (latencies_us_.empty()) return 0;
      const auto index = static_cast<std::size_t>(q * static_cast<double>(latencies_us_.size()));
      return latencies_us_[std::min(index, latencies_us_.size() - 1)];
    };
    const double cpu_us = static_cast<double>(CpuMicroseconds() - cpu_us_at_open_);
    std::printf("{\"seconds\":%.6f,\"per_second\":%.1f,\"loadgen_cpu_percent\":%.1f", seconds,
                static_cast<double>(replies) / seconds, cpu_us / seconds / 1e4);
    const std::pair<const char*, std::int64_t> counts[] = {
        {"replies", replies},
        {"failures", failures_ - failures_at_open_},
        {"last_failure", last_failure_},
        {"events", events_ - events_at_open_},
        {"open", open_},
        {"p50_us", quantile(0.5)},
        {"p90_us", quantile(0.9)},
        {"p99_us", quantile(0.99)},
        {"max_us", quantile(1.0)},
    };
    for (const auto& [name, value] : counts) {
      std::printf(",\"%s\":%lld", name, static_cast<long long>(value));
    }
    std::printf("}\n");
    std::fflush(stdout);
  }

  const Options options_;
  std::string request_;
  int epoll_ = -1;
  int timer_ = -1;
  std::vector<char> buffer_;
  std::vector<Connection> connections_;
  std::vector<std::size_t> by_fd_;
  std::vector<std::uint32_t> latencies_us_;
  std::size_t next_stream_ = 0;
  std::int64_t start_us_ = 0;
  std::int64_t window_opens_us_ = 0;
  std::int64_t next_due_us_ = 0;
  std::int64_t replies_ = 0, replies_at_open_ = 0;
  std::int64_t events_ = 0, events_at_open_ = 0;
  std::int64_t failures_ = 0, failures_at_open_ = 0;
  std::int64_t opening_ = 0, open_ = 0;
  std::int64_t cpu_us_at_open_ = 0;
  int last_failure_ = 0;
  bool window_open_ = false;
  bool finished_ = false;
};

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  using weir::bench::Options;
  weir::bench::Flags flags(argc, argv, weir::bench::kHelp);
  Options options;
  options.mode = flags.Text("mode", "closed");
  options.path = flags.Text("path", "/v1/responses");
  options.key = flags.Text("key", "none");
  options.model = flags.Text("model", "gpt-5.5");
  options.switches = flags.Text("switches", "");
  options.port = static_cast<std::uint16_t>(flags.Number("port", 0));
  options.connections = flags.Number("connections", 32);
  options.seconds = flags.Number("seconds", 5);
  options.warmup = flags.Number("warmup", 1);
  options.rate = flags.Number("rate", 100);
  options.body_bytes = flags.Number("body-bytes", 2048);
  flags.Done();
  weir::bench::RaiseDescriptorLimit();
  return weir::bench::LoadGenerator(std::move(options)).Run();
}
