// models/student/students.h -- the kinds of students; make_student chooses.
#pragma once

#include "models/student/student.h"

namespace cafx {

std::unique_ptr<Student> make_lstm_student(const StudentConfig&);
std::unique_ptr<Student> make_wavenet_student(const StudentConfig&);

}  // namespace cafx
