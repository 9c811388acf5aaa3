select
    concat_ws(' ', carrier, flight, time_hour) as flight_id,
    carrier,
    tailnum,
    origin,
    dest as destination,
    time_hour,
    dep_delay as departure_delay,
    arr_delay as arrival_delay,
    distance as distance_miles,
    dep_time is null as cancelled
from {{ source("raw", "flights") }}
