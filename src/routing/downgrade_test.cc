#include "routing/downgrade.h"

#include <gtest/gtest.h>

namespace weir::routing {
namespace {

TEST(ClassOf, Facts_DecideTheClass) {
  struct Row {
    TaskFacts facts;
    TaskClass task;
  };
  const Row rows[] = {
      {{.input_bytes = 100, .turns = 1}, TaskClass::kSimple},
      {{.input_bytes = 8 << 10, .turns = 3, .effort = "low"}, TaskClass::kSimple},
      {{.input_bytes = (8 << 10) + 1, .turns = 1}, TaskClass::kStandard},
      {{.input_bytes = 100, .turns = 4}, TaskClass::kStandard},
      {{.input_bytes = 100, .turns = 1, .tools = true}, TaskClass::kStandard},
      {{.input_bytes = 100, .turns = 1, .effort = "medium"}, TaskClass::kStandard},
      {{.input_bytes = 9000, .turns = 19, .tools = true}, TaskClass::kStandard},
      {{.input_bytes = 9000, .turns = 20, .tools = true}, TaskClass::kComplex},
      {{.input_bytes = 9000, .turns = 200}, TaskClass::kStandard},
      {{.input_bytes = 256 << 10, .turns = 1}, TaskClass::kComplex},
      {{.input_bytes = 10, .turns = 1, .effort = "high"}, TaskClass::kComplex},
      {{.input_bytes = 10, .turns = 1, .effort = "xhigh"}, TaskClass::kComplex},
      {{.input_bytes = 10, .turns = 1, .effort = "whatever"}, TaskClass::kSimple},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(ClassOf(row.facts), row.task)
        << row.facts.input_bytes << ' ' << row.facts.turns << ' ' << row.facts.effort;
  }
}

TEST(LowerEffort, IsOneStep_AndEndsAtLow) {
  EXPECT_EQ(LowerEffort("xhigh"), "high");
  EXPECT_EQ(LowerEffort("high"), "medium");
  EXPECT_EQ(LowerEffort("medium"), "low");
  EXPECT_EQ(LowerEffort("low"), "");
  EXPECT_EQ(LowerEffort(""), "");
  EXPECT_EQ(LowerEffort("unheard of"), "");
}

}  // namespace
}  // namespace weir::routing
