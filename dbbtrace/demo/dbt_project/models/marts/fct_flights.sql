select
    flights.*,
    planes.manufacturer,
    planes.seats,
    classes.delay_class
from {{ ref("stg_flights") }} as flights
left join {{ ref("dim_planes") }} as planes using (tailnum)
left join {{ ref("delay_classes") }} as classes
    on flights.departure_delay >= classes.from_minutes
    and flights.departure_delay < classes.below_minutes
