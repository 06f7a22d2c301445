// The model of a file, for code that names it by its former place.
#pragma once
#include "models/play/weights_file.h"
