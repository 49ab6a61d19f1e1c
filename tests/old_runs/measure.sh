wc -c < "$1" | awk '{print $1 / 1000}' # milliseconds, of a device that takes a model by its size
