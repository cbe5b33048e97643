#include "routing/downgrade.h"

#include <utility>

namespace weir::routing {
namespace {

constexpr std::int64_t kSimpleBytesMax = 8 << 10;
constexpr std::int64_t kSimpleTurnsMax = 3;  // a system message, a question and an answer before it
constexpr std::int64_t kComplexBytesMin = 256 << 10;
constexpr std::int64_t kComplexTurnsMin = 20;  // with tools: an agent deep in its work

}  // namespace

std::string_view Name(TaskClass task) {
  switch (task) {
    case TaskClass::kSimple:
      return "simple";
    case TaskClass::kStandard:
      return "standard";
    case TaskClass::kComplex:
      return "complex";
  }
  return "unknown";
}

TaskClass ClassOf(const TaskFacts& facts) {
  if (facts.effort == "high" || facts.effort == "xhigh" || facts.effort == "max") {
    return TaskClass::kComplex;
  }
  if (facts.input_bytes >= kComplexBytesMin) return TaskClass::kComplex;
  if (facts.tools && facts.turns >= kComplexTurnsMin) return TaskClass::kComplex;
  const bool thinks = facts.effort == "medium";
  if (!facts.tools && !thinks && facts.turns <= kSimpleTurnsMax &&
      facts.input_bytes <= kSimpleBytesMax) {
    return TaskClass::kSimple;
  }
  return TaskClass::kStandard;
}

std::string_view LowerEffort(std::string_view effort) {
  // low is where it ends: "minimal" and "none" are not known to every model.
  constexpr std::pair<std::string_view, std::string_view> kSteps[] = {
      {"max", "xhigh"}, {"xhigh", "high"}, {"high", "medium"}, {"medium", "low"}};
  for (const auto& [from, to] : kSteps) {
    if (from == effort) return to;
  }
  return {};
}

}  // namespace weir::routing
