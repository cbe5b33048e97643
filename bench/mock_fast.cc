// mock_fast: an upstream that costs as little as possible, so that a benchmark measures the proxy
// in front of it. Correctness is judged against `weir mock-upstream`; this one reads just enough of
// a request to know how to answer.
//
// One thread, epoll. A request for a stream gets one event every interval from a wheel of one
// millisecond slots, so the cost of a tick is the number of events due in it and nothing else.
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "raw_net.h"

namespace weir::bench {
namespace {

constexpr const char* kHelp =
    "mock_fast [--port N] [--interval-ms N] [--events N]\n"
    "The cheapest possible upstream, for figures only; for correctness use `weir mock-upstream`.\n"
    "POST .../responses and .../chat/completions are answered with 1 KB of JSON, or with\n"
    "\"stream\":true by server-sent events. The first 4 KB of a body may hold interval_ms=N and\n"
    "events=N, which win over the flags. Prints {\"port\":N} when ready; serves until SIGTERM.\n";

constexpr std::size_t kSlots = 1 << 15;        // milliseconds the wheel reaches, about 32 s
constexpr std::size_t kSwitchBytesMax = 4096;  // how far into a body the switches are looked for
constexpr std::size_t kReadBytes = 256 << 10;

std::string JsonReply(std::string_view body) {
  std::string reply =
      "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: "
      "req_fast\r\ncontent-length: ";
  reply += std::to_string(body.size());
  reply += "\r\n\r\n";
  reply += body;
  return reply;
}

std::string ResponsesBody(const std::string& text) {
  return R"({"id":"resp_fast","object":"response","created_at":1760000000,"status":"completed",)"
         R"("error":null,"incomplete_details":null,"instructions":null,"model":"gpt-5.5","output":[)"
         R"({"id":"msg_fast","type":"message","status":"completed","role":"assistant","content":[)"
         R"({"type":"output_text","annotations":[],"logprobs":[],"text":")" +
         text +
         R"("}]}],"parallel_tool_calls":true,"metadata":{},"tool_choice":"auto","tools":[],)"
         R"("temperature":1,"top_p":1,"usage":{"input_tokens":420,"input_tokens_details":)"
         R"({"cached_tokens":0,"cache_write_tokens":0},"output_tokens":96,"output_tokens_details":)"
         R"({"reasoning_tokens":0},"total_tokens":516}})";
}

std::string ChatBody(const std::string& text) {
  return R"({"id":"chatcmpl-fast","object":"chat.completion","created":1760000000,"model":"gpt-5.5",)"
         R"("choices":[{"index":0,"message":{"role":"assistant","content":")" +
         text +
         R"(","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],)"
         R"("usage":{"prompt_tokens":420,"completion_tokens":96,"total_tokens":516,)"
         R"("prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},)"
         R"("completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}},)"
         R"("service_tier":"default","system_fingerprint":"fp_fast"})";
}

std::string Chunk(std::string_view event) {
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", event.size());
  std::string chunk = size;
  chunk += event;
  chunk += "\r\n";
  return chunk;
}

// What is sent, made once: a tick is then a send() of constant bytes. One shape per endpoint.
struct Shape {
  std::string json;
  std::string stream_first;  // head and first event
  std::string stream_event;
  std::string stream_last;  // terminal event and last chunk
};

constexpr const char* kStreamHead =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: "
    "no-cache\r\n"
    "x-request-id: req_fast\r\ntransfer-encoding: chunked\r\n\r\n";

Shape MakeResponses() {
  Shape shape;
  shape.json = JsonReply(ResponsesBody(std::string(560, 'x')));
  shape.stream_first =
      kStreamHead + Chunk(
                        "event: response.created\ndata: {\"type\":\"response.created\","
                        "\"sequence_number\":0,\"response\":{\"id\":\"resp_fast\","
                        "\"object\":\"response\",\"status\":\"in_progress\","
                        "\"model\":\"gpt-5.5\",\"output\":[],\"usage\":null}}\n\n");
  shape.stream_event = Chunk(
      "event: response.output_text.delta\ndata: {\"type\":"
      "\"response.output_text.delta\",\"sequence_number\":7,\"item_id\":"
      "\"msg_fast\",\"output_index\":0,\"content_index\":0,\"delta\":"
      "\"some words \",\"logprobs\":[]}\n\n");
  shape.stream_last = Chunk(
                          "event: response.completed\ndata: {\"type\":\"response.completed\","
                          "\"sequence_number\":9,\"response\":" +
                          ResponsesBody("done") + "}\n\n") +
                      "0\r\n\r\n";
  return shape;
}

Shape MakeChat() {
  const std::string head =
      R"(data: {"id":"chatcmpl-fast","object":"chat.completion.chunk","created":1760000000,)"
      R"("model":"gpt-5.5","choices":)";
  Shape shape;
  shape.json = JsonReply(ChatBody(std::string(600, 'x')));
  shape.stream_first =
      kStreamHead + Chunk(head + R"([{"index":0,"delta":{"role":"assistant","content":""},)"
                                 R"("finish_reason":null}],"usage":null})"
                                 "\n\n");
  shape.stream_event = Chunk(head + R"([{"index":0,"delta":{"content":"some words "},)"
                                    R"("finish_reason":null}],"usage":null})"
                                    "\n\n");
  shape.stream_last =
      Chunk(head + R"([{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null})"
                   "\n\n") +
      Chunk(head + R"([],"usage":{"prompt_tokens":420,"completion_tokens":96,)"
                   R"("total_tokens":516}})"
                   "\n\n") +
      Chunk("data: [DONE]\n\n") + "0\r\n\r\n";
  return shape;
}

struct Connection {
  int fd = -1;
  std::uint32_t generation = 0;  // a slot of the wheel may name a connection that is gone
  std::string in;                // an unfinished request head, or its first bytes of body
  std::int64_t body_left = -1;   // < 0: the head is not complete
  std::string out;               // what the socket did not take
  const Shape* shape = nullptr;
  bool stream_wanted = false;
  bool streaming = false;
  std::int64_t events_left = 0;
  std::int64_t interval_ms = 0;
};

struct Due {
  int fd;
  std::uint32_t generation;
};

// The number behind `name` in the beginning of a body.
std::int64_t SwitchOr(const std::string& front, std::string_view name, std::int64_t fallback) {
  const auto at = front.find(name);
  return at == std::string::npos ? fallback : std::atoll(front.c_str() + at + name.size());
}

// The value of content-length, or -1.
std::int64_t ContentLength(std::string_view head) {
  constexpr std::string_view kName = "content-length:";
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;
       at = head.find("\r\n", at + 2)) {
    const std::string_view line = head.substr(at + 2);
    if (StartsWithIgnoreCase(line, kName)) {
      return std::atoll(line.data() + kName.size());
    }
  }
  return -1;
}

class Mock {
 public:
  Mock(std::uint16_t port, std::int64_t interval_ms, std::int64_t events)
      : interval_ms_(interval_ms), events_(events), buffer_(kReadBytes), wheel_(kSlots) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int one = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address = Loopback(port);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Die("bind");
    if (listen(listener_, 4096) != 0) Die("listen");
    socklen_t length = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    Watch(listener_, EPOLLIN, EPOLL_CTL_ADD);
    Watch(timer_, EPOLLIN, EPOLL_CTL_ADD);
    std::printf("{\"port\":%d}\n", ntohs(address.sin_port));
    std::fflush(stdout);
  }

  void Run() {
    epoll_event events[512];
    for (;;) {
      const int count = epoll_wait(epoll_, events, 512, -1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[i].data.fd;
        if (fd == listener_) {
          Accept();
        } else if (fd == timer_) {
          std::uint64_t ticks = 0;
          if (read(timer_, &ticks, sizeof ticks) > 0) Tick();
        } else if (fd < static_cast<int>(connections_.size()) && connections_[fd].fd == fd) {
          if ((events[i].events & EPOLLOUT) != 0) Flush(connections_[fd]);
          if (connections_[fd].fd == fd && (events[i].events & ~EPOLLOUT) != 0) {
            Read(connections_[fd]);
          }
        }
      }
    }
  }

 private:
  void Watch(int fd, std::uint32_t what, int operation) const {
    epoll_event event{};
    event.events = what;
    event.data.fd = fd;
    epoll_ctl(epoll_, operation, fd, &event);
  }

  void Accept() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      SetNoDelay(fd);
      if (fd >= static_cast<int>(connections_.size())) connections_.resize(fd + 1024);
      Connection& connection = connections_[fd];
      const std::uint32_t generation = connection.generation + 1;
      connection = Connection{};
      connection.fd = fd;
      connection.generation = generation;
      Watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
  }

  void Close(Connection& connection) {
    if (connection.streaming) --streams_;
    close(connection.fd);
    connection.fd = -1;
    connection.streaming = false;
    SetTimer();
  }

  void Send(Connection& connection, std::string_view bytes) {
    if (connection.out.empty()) {
      const ssize_t sent = send(connection.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent == static_cast<ssize_t>(bytes.size())) return;
      if (sent < 0 && errno != EAGAIN) {
        Close(connection);
        return;
      }
      bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
      Watch(connection.fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    connection.out += bytes;
  }

  void Flush(Connection& connection) {
    std::string bytes = std::move(connection.out);
    connection.out.clear();
    Watch(connection.fd, EPOLLIN, EPOLL_CTL_MOD);
    Send(connection, bytes);
  }

  void Read(Connection& connection) {
    const ssize_t got = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (got <= 0) {
      if (got < 0 && errno == EAGAIN) return;
      Close(connection);
      return;
    }
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(got));
    if (!connection.in.empty()) {
      connection.in += bytes;
      TakeHead(connection, connection.in);
    } else if (connection.body_left >= 0) {
      connection.body_left -= got;
    } else {
      TakeHead(connection, bytes);
    }
    if (connection.fd >= 0 && connection.body_left == 0) Answer(connection);
  }

  // Reads a head and the switches in the beginning of the body; what follows is only counted.
  // Waits for as much of the body as could hold a switch.
  void TakeHead(Connection& connection, std::string_view bytes) {
    const auto end = bytes.find("\r\n\r\n");
    const std::int64_t length =
        end == std::string_view::npos ? 0 : ContentLength(bytes.substr(0, end));
    const std::string_view body = end == std::string_view::npos ? "" : bytes.substr(end + 4);
    const bool enough = end != std::string_view::npos &&
                        (length < 0 || static_cast<std::int64_t>(body.size()) >=
                                           std::min<std::int64_t>(length, kSwitchBytesMax));
    if (!enough) {
      if (connection.in.empty()) connection.in = bytes;
      return;
    }
    if (length < 0) {
      Send(connection,
           "HTTP/1.1 411 Length Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
      Close(connection);
      return;
    }
    const bool chat = bytes.substr(0, bytes.find('\r')).find("/chat/") != std::string_view::npos;
    connection.shape = chat ? &chat_ : &responses_;
    const std::string_view front = body.substr(0, kSwitchBytesMax);
    connection.stream_wanted = front.find("\"stream\":true") != std::string_view::npos ||
                               front.find("\"stream\": true") != std::string_view::npos;
    if (connection.stream_wanted) {
      const std::string copy(front);
      connection.interval_ms = std::clamp<std::int64_t>(
          SwitchOr(copy, "interval_ms=", interval_ms_), 1, static_cast<std::int64_t>(kSlots) - 1);
      connection.events_left = SwitchOr(copy, "events=", events_);
    }
    connection.body_left = length - static_cast<std::int64_t>(body.size());
    connection.in.clear();
  }

  void Answer(Connection& connection) {
    connection.body_left = -1;
    if (!connection.stream_wanted) {
      Send(connection, connection.shape->json);
      return;
    }
    connection.streaming = true;
    ++streams_;
    SetTimer();
    Send(connection, connection.shape->stream_first);
    // Streams opened together would all be due in one slot; a spread is what real ones look like.
    if (connection.fd >= 0) Plan(connection, 1 + (spread_++ * 7919) % connection.interval_ms);
  }

  void Plan(const Connection& connection, std::int64_t delay_ms) {
    wheel_[(tick_ + static_cast<std::size_t>(delay_ms)) % kSlots].push_back(
        {connection.fd, connection.generation});
  }

  // The timer runs only while there are streams, so that it costs nothing in the other modes.
  void SetTimer() {
    const bool wanted = streams_ > 0;
    if (wanted == timer_runs_) return;
    timer_runs_ = wanted;
    if (wanted) origin_ = NowMicroseconds() / 1000 - static_cast<std::int64_t>(tick_);
    itimerspec spec{};
    spec.it_interval.tv_nsec = wanted ? 1'000'000 : 0;
    spec.it_value = spec.it_interval;
    timerfd_settime(timer_, 0, &spec, nullptr);
  }

  void Tick() {
    const auto now = static_cast<std::size_t>(NowMicroseconds() / 1000 - origin_);
    while (tick_ < now) {
      ++tick_;
      due_.swap(wheel_[tick_ % kSlots]);
      for (const Due& due : due_) {
        Connection& connection = connections_[due.fd];
        if (connection.fd < 0 || connection.generation != due.generation || !connection.streaming)
          continue;
        Step(connection);
      }
      due_.clear();
    }
  }

  void Step(Connection& connection) {
    if (connection.out.empty() && connection.events_left-- <= 0) {
      connection.streaming = false;
      --streams_;
      Send(connection, connection.shape->stream_last);
      SetTimer();
      return;
    }
    // A reader that does not keep up gets no more until it has read what there is.
    if (connection.out.empty()) Send(connection, connection.shape->stream_event);
    if (connection.fd >= 0) Plan(connection, connection.interval_ms);
  }

  const Shape responses_ = MakeResponses();
  const Shape chat_ = MakeChat();
  const std::int64_t interval_ms_;
  const std::int64_t events_;
  int epoll_ = -1;
  int listener_ = -1;
  int timer_ = -1;
  std::vector<char> buffer_;
  std::vector<Connection> connections_;  // by descriptor
  std::vector<std::vector<Due>> wheel_;
  std::vector<Due> due_;
  std::size_t tick_ = 0;
  std::int64_t origin_ = 0;  // milliseconds of the clock at tick 0
  std::int64_t streams_ = 0;
  std::int64_t spread_ = 0;
  bool timer_runs_ = false;
};

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  weir::bench::Flags flags(argc, argv, weir::bench::kHelp);
  const auto port = static_cast<std::uint16_t>(flags.Number("port", 0));
  const std::int64_t interval_ms = flags.Number("interval-ms", 10);
  const std::int64_t events = flags.Number("events", 1000);
  flags.Done();
  weir::bench::RaiseDescriptorLimit();
  weir::bench::Mock(port, interval_ms, events).Run();
}
