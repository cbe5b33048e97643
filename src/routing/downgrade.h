// Under pressure: what a call is, judged by facts that can be checked, and what it may be given
// instead. Nothing here reads what the call says.
//
//   simple    short, no tools, hardly any history, no wish to think much
//   complex   asked to think hard, or a long run of an agent with tools, or a very long input
//   standard  the rest
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::routing {

enum class TaskClass : std::uint8_t { kSimple, kStandard, kComplex };
std::string_view Name(TaskClass task);

struct TaskFacts {
  std::int64_t input_bytes = 0;  // of the body
  std::int64_t turns = 0;        // input items or messages
  bool tools = false;
  std::string_view effort = {};  // as asked for; empty: the model's own
};

TaskClass ClassOf(const TaskFacts& facts);

// One step of reasoning effort less, or nothing when there is none that every model knows.
std::string_view LowerEffort(std::string_view effort);

}  // namespace weir::routing
